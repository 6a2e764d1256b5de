"""Whether chunk borders can be heard: every protocol's PCM against the whole, every format against that PCM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadtests.formats import listening, one_piece
from loadtests.formats.asking import FORMS, WAYS, Form, Utterance, native, spoken
from loadtests.formats.listening import Samples

LOSSY = ("mp3", "aac", "opus", "webm")
_THREADS = 2
Tell = Callable[[str], None]


@dataclass(slots=True)
class Finding:
    """Of one format over all utterances."""

    utterances: int = 0
    same: int = 0  # decoded to the very samples that one piece gives
    borders: int = 0
    clicks: int = 0
    of_the_codec: int = 0  # what the detector finds at borders in one piece, which has none
    damage_heard: int = 0  # of one damaged border in each utterance
    worst: list[str] = field(default_factory=list)

    def add(self, other: Finding) -> None:
        for name in ("utterances", "same", "borders", "clicks", "of_the_codec", "damage_heard"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worst += other.worst


def run(url: str, utterances: list[Utterance], tell: Tell) -> dict[str, Any]:
    tell(f"{len(utterances)} utterances in {len(WAYS)} ways")
    ways = _ways(url, utterances)
    rates_hz = sorted({form.rate_hz for form in FORMS})
    native_pcm: dict[int, list[bytes]] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for rate_hz in rates_hz:
            chunked = list(pool.map(lambda one, rate_hz=rate_hz: native(url, one, rate_hz), utterances))
            native_pcm[rate_hz] = [b"".join(chunks) for chunks in chunked]
            if rate_hz == 24_000:
                raw = _raw(chunked)
        found = {}
        for form in FORMS:
            tell(f"{form.codec} at {form.rate_hz} Hz")
            finding = Finding()
            jobs = [(url, one, form, pcm) for one, pcm in zip(utterances, native_pcm[form.rate_hz], strict=True)]
            for one in pool.map(lambda job: _checked(*job), jobs):
                finding.add(one)
            found[f"{form.codec} {form.rate_hz}"] = finding
    return {
        "utterances": len(utterances),
        "seconds_of_speech": round(sum(map(len, native_pcm[24_000])) / 48_000, 1),
        "ways_equal": ways,
        "native_pcm": raw,
        "formats": {name: _shown(one) for name, one in found.items()},
    }


def _ways(url: str, utterances: list[Utterance]) -> dict[str, int]:
    """In how many utterances each way gave the bytes that the first gave."""
    equal: Counter[str] = Counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        first, *others = WAYS
        wanted = list(pool.map(lambda one: WAYS[first](url, one), utterances))
        equal[first] = sum(len(pcm) > 0 for pcm in wanted)
        for way in others:
            heard = pool.map(lambda one, way=way: WAYS[way](url, one), utterances)
            equal[way] = sum(one == two for one, two in zip(heard, wanted, strict=True))
    return dict(equal)


def _raw(chunked: list[list[bytes]]) -> dict[str, int]:
    """Sharp bends of native PCM at the borders that chunks really had, and between them."""
    counts = {"borders": 0, "bends_at_borders": 0, "places_between": 0, "bends_between": 0}
    for chunks in chunked:
        samples = listening.of_pcm(b"".join(chunks))
        borders = np.cumsum([len(chunk) // 2 for chunk in chunks])[:-1].tolist()
        between = [place + 480 for place in borders]
        counts["borders"] += len(borders)
        counts["bends_at_borders"] += len(listening.bends(samples, borders, 24_000))
        counts["places_between"] += len(between)
        counts["bends_between"] += len(listening.bends(samples, between, 24_000))
    return counts


def _checked(url: str, utterance: Utterance, form: Form, pcm: bytes) -> Finding:
    heard, rate_hz = listening.decoded(spoken(url, utterance, form), form)
    whole = listening.of_pcm(pcm)
    if form.codec in LOSSY:
        whole, _ = listening.decoded(one_piece.encoded(pcm, form), form)
    elif form.codec in ("ulaw", "alaw"):
        whole = heard  # it has no memory: each sample is judged against the native one
    return judged(heard, whole, rate_hz, form, pcm, utterance.text)


def judged(heard: Samples, whole: Samples, rate_hz: int, form: Form, pcm: bytes, text: str) -> Finding:
    """One utterance: `heard` at `rate_hz` against the native `pcm` at the format's rate, and against what the codec
    makes of it in one piece, `whole`."""
    same = len(heard) == len(whole) and bool(np.array_equal(heard, whole))
    reference = listening.at_rate(listening.of_pcm(pcm), form.rate_hz, rate_hz)
    if form.codec in LOSSY:
        heard, whole = (listening.aligned(one, reference, rate_hz) for one in (heard, whole))
    count = min(len(heard), len(reference))
    borders = listening.chunk_places(count, rate_hz)
    of_the_codec = listening.steps(whole, reference, borders, rate_hz)
    clicks = [place for place in listening.steps(heard, reference, borders, rate_hz) if place not in of_the_codec]
    broken, place = listening.damaged(heard[:count], borders, rate_hz)
    short = len(heard) < len(reference) - rate_hz // 100
    says = [*(["short"] if short else []), *([] if same else ["not as in one piece"]), f"{len(clicks)} clicks"]
    return Finding(
        utterances=1,
        same=int(same),
        borders=len(borders),
        clicks=len(clicks),
        of_the_codec=len(of_the_codec),
        damage_heard=int(place in listening.steps(broken, reference, borders, rate_hz)),
        worst=[f"{text[:40]}: {', '.join(says)}"] if short or clicks or not same else [],
    )


def _shown(one: Finding) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Finding.__slots__} | {"worst": one.worst[:5]}
