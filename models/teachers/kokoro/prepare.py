"""From blocks of Kokoro's speech to training data at 16 kHz: python -m models.teachers.kokoro.prepare --out DIR

Kokoro says how many frames of 25 ms each token lasts. Against a forced alignment and against the energy of first
sounds these times are late by a constant 45 ms; and the phones beside a pause swallow its silence, so there the
energy decides. F0 is the graph's own: it drives the source, so it is exact, voicing included.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from engines.text import PauseType
from engines.text.phones import PAUSE
from models.framing import HOP, SAMPLE_RATE_HZ
from models.packages import cache_folder
from models.teacher.prepare import Segment, SpeechWriter, trim, trim_times, trimming
from models.teachers.kokoro.generate import blocks_of, load
from models.teachers.kokoro.speaker import PROSODY_RATE_HZ
from models.teachers.kokoro.speaker import SAMPLE_RATE_HZ as KOKORO_RATE_HZ
from models.voice_plan import NATURAL_WORK

FRAME_S = 0.025
LAG_S = 0.045
MIN_VOICED_HZ = 50.0
QUIET = 10 ** (-32 / 20)  # of the loudest 10 ms of the utterance
QUIET_ENERGY = 2.0  # of the graph's: it says of 96 % of the hops what the samples say, for af_heart and am_michael
HOP_S = HOP / SAMPLE_RATE_HZ
SHORTEST_S = 0.01  # of a phone
Utterance = tuple[dict[str, Any], NDArray[np.int16], NDArray[np.float32]]  # record, samples at 24 kHz, F0 at 80 Hz
_MARKS = {PauseType.PERIOD: ".", PauseType.QUESTION: "?", PauseType.EXCLAIM: "!"}


def phone_ends(record: dict[str, Any]) -> NDArray[np.float64]:
    """When each phone ends by the teacher's own count, in seconds: [P]. The space between words is halved."""
    frames, owner = record["frames"], record["owner"]
    spans = np.zeros(len(record["phones"]))
    for place, (count, phone) in enumerate(zip(frames[1:-1], owner, strict=True)):
        if phone is not None:
            spans[phone] += count
        else:
            spans[owner[place - 1]] += count / 2
            spans[owner[place + 1]] += count / 2
    spans[0] += frames[0]  # the silence before the first phone, which is a pause
    spans[-1] += frames[-1]
    ends: NDArray[np.float64] = np.cumsum(spans) * FRAME_S - LAG_S
    return ends


def audible_hops(samples: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Of samples at 16 kHz, each 10 ms."""
    windows = samples[: len(samples) // HOP * HOP].reshape(-1, HOP).astype(np.float64)
    level = np.sqrt((windows**2).mean(1))
    return np.asarray(level > QUIET * max(1.0, float(level.max())))


def audible_by_energy(energy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The same where there are no samples; energy at 80 Hz."""
    hops = int(len(energy) / PROSODY_RATE_HZ / HOP * SAMPLE_RATE_HZ)
    place = (np.arange(hops) + 0.5) * HOP / SAMPLE_RATE_HZ * PROSODY_RATE_HZ - 0.5
    return np.asarray(np.interp(place, np.arange(len(energy)), energy) > QUIET_ENERGY)


def cut_silence(ends_s: NDArray[np.float64], is_pause: NDArray[np.bool_], audible: NDArray[np.bool_]) -> None:
    """Moves the borders of pauses, in place, to the last and first audible hop beside them."""
    for pause in np.flatnonzero(is_pause):
        before = ends_s[pause - 2] if pause > 1 else 0.0  # where the phone before it begins
        behind = ends_s[pause + 1] if pause + 1 < len(ends_s) else ends_s[-1]
        first, last = round((before + SHORTEST_S) / HOP_S), round((behind - SHORTEST_S) / HOP_S)
        run = _longest_quiet(audible[first:last])
        if run is None:
            continue
        if pause > 0:
            ends_s[pause - 1] = (first + run[0]) * HOP_S
        if pause + 1 < len(ends_s):
            ends_s[pause] = (first + run[1]) * HOP_S


def _longest_quiet(audible: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Begin and end of the longest run of False."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], audible.astype(int), [1]])))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return None
    begin, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return int(begin), int(end)


def read(record: dict[str, Any], audible: NDArray[np.bool_]) -> dict[str, Any]:
    """audible [hops] -> the record as `models.teacher.prepare` reads it, with phone times and words."""
    length_s = record["samples"] / KOKORO_RATE_HZ
    phones = record["phones"]
    is_pause = np.array([symbol == PAUSE for symbol, _, _, _ in phones])
    ends_s = np.clip(phone_ends(record), 0.0, length_s)
    cut_silence(ends_s, is_pause, audible)
    ends_s[-1] = length_s
    least = np.arange(len(ends_s))  # each phone lasts a hop
    hops = np.maximum(np.round(ends_s / HOP_S), 1)
    ends_s = np.asarray((np.maximum.accumulate(hops - least) + least) * HOP_S, np.float64)
    segments: list[Segment] = []
    words: list[list[str]] = []
    for (symbol, stress, starts_word, pause), end_s in zip(phones, ends_s, strict=True):
        if symbol == PAUSE:
            if words:
                words[-1][2] = _MARKS.get(PauseType(pause), ",")
            segments.append((symbol, float(end_s), 0, -1, 0))
            continue
        if starts_word or not words:
            words.append(["", "", ""])
        segments.append((symbol, float(end_s), stress, len(words) - 1, 0))
    return {
        "voice": record["voice"],
        "stretch": record["stretch"],
        "text": record["text"],
        "segments": segments,
        "words": words,
    }


def pitch(f0_hz: NDArray[np.float32], start: int, hops: int) -> NDArray[np.float32]:
    """F0 of the graph, 80 a second -> at the middle of each hop of 10 ms from sample `start` on, 0 where unvoiced.

    A value is what sounds when its frame begins: where F0 glides, harmonics fit best 6.2 and 6.6 ms before its middle
    (two voices, 15,000 places), half a frame. A decoder that learned from values at the middle was hoarse in glides.
    """
    middle_s = (start + HOP * (np.arange(hops) + 0.5)) / SAMPLE_RATE_HZ
    place = np.clip(middle_s * PROSODY_RATE_HZ, 0, len(f0_hz) - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, len(f0_hz) - 1)
    between = f0_hz[below] + (place - below) * (f0_hz[above] - f0_hz[below])
    both = (f0_hz[below] >= MIN_VOICED_HZ) & (f0_hz[above] >= MIN_VOICED_HZ)
    nearest = f0_hz[np.round(place).astype(int)]
    chosen = np.where(both, between, nearest)
    return np.where(chosen >= MIN_VOICED_HZ, chosen, 0).astype(np.float32)


def utterances(blocks: list[Path]) -> Iterator[Utterance]:
    for path in blocks:
        for record, samples, prosody in load(path):
            yield record, samples, prosody[:, 0]


def prepare(speech: Path, out: Path, voice: str, hours: float | None = None) -> float:
    """Of a voice's blocks, the first of about so many hours; returns the seconds kept.

    In random order, so that the last ones, which training holds out, are of all kinds. A block's place is drawn by its
    own number: among more blocks only new ones come behind those that were held out.
    """
    blocks = sorted(speech.glob(f"*-{voice}.npz"))[: blocks_of(hours) if hours else None]
    blocks.sort(key=lambda path: random.Random(path.stem).random())
    return write(out, voice, utterances(blocks))


def write(out: Path, voice: str, found: Iterable[Utterance]) -> float:
    """As `prepare`, of utterances at hand."""
    with SpeechWriter(out, voice) as writer:
        for utterance in found:
            if one := trimmed(utterance):
                writer.add(one.record, one.samples, one.f0_hz, one.segments)
    return writer.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """A record as `models.teacher.prepare` reads it, and what is kept of its sound."""

    record: dict[str, Any]
    start: int  # sample at 16 kHz
    samples: NDArray[np.int16]  # [S] at 16 kHz
    f0_hz: NDArray[np.float32]  # [S / HOP]
    segments: list[Segment]


def trimmed(utterance: Utterance) -> Trimmed | None:
    """None for what is not worth training on."""
    spoken, samples_24_khz, f0_hz = utterance
    samples = soxr.resample(samples_24_khz, KOKORO_RATE_HZ, SAMPLE_RATE_HZ)
    record = read(spoken, audible_hops(samples))
    found, times = trim(record, samples, trimming(record)), trim_times(record, trimming(record))
    if found is None or times is None:
        return None
    (cut, segments), start = found, times[0]
    return Trimmed(
        record=record, start=start, samples=cut, f0_hz=pitch(f0_hz, start, len(cut) // HOP), segments=segments
    )


def main() -> None:
    folder = cache_folder() / "voice-kokoro"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, default=folder / "speech")
    parser.add_argument("--out", type=Path, default=NATURAL_WORK / "speech")
    parser.add_argument("--voices", default="af_heart,am_michael")
    arguments = parser.parse_args()
    for voice in arguments.voices.split(","):
        seconds = prepare(arguments.speech, arguments.out, voice)
        print(f"{voice}: {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
