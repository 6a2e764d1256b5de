"""One recording and its text to the form of the teacher's raw speech: samples, phones with their ends, words.

What does not fit is turned away with a reason. A pause is a silence between words that lasts; whether the text has a
mark there only decides its type, as in the teacher's speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.text import VOWELS, FrontEnd, PauseType, Phone
from engines.text.phones import PAUSE
from models.recordings.audio import SAMPLE_RATE_HZ, UnreadableAudioError, cut, levelled
from models.recordings.manifest import Recording
from models.recordings.phone_aligner import Alignment, PhoneAligner, spoken_words
from models.teacher.prepare import trim_times, trimming

SHORTEST_PAUSE_S = 0.06
LONGEST_PAUSE_S = 3.0
LONGEST_PHONE_S = 1.0
PHONES_PER_S = (3.0, 28.0)  # without pauses; reading aloud makes some 10 to 15
FEW_PHONES = 3  # "a" alone lasts half a second; the bound on one phone holds for it all the same
UNSAID_S = 0.2  # of sound as loud as speech where the alignment has none
_AS_LOUD = 10 ** (-6 / 10)  # of the median power of the phones' frames
_BEFORE_S, _AFTER_S = 0.1, 0.3  # of silence added, in case a recording begins or ends with speech
_FRAME_SAMPLES = 160
_MARKS = {PauseType.PLAIN: ",", PauseType.PERIOD: ".", PauseType.QUESTION: "?", PauseType.EXCLAIM: "!"}

Segment = tuple[str, float, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """`record` is what `models.teacher.prepare` reads, without the place in the voice's file."""

    samples: NDArray[np.int16]
    record: dict[str, Any]
    log_fit: float  # see `Alignment`


class MisfitError(Exception):
    """Sound and text do not go together; says how it was seen."""


def timed(one: Recording, aligner: PhoneAligner, front_end: FrontEnd) -> Timed:
    """Raises UnreadableAudioError or MisfitError."""
    samples = levelled(cut(one.audio, one.start_s, one.end_s))
    samples = np.pad(samples, (int(_BEFORE_S * SAMPLE_RATE_HZ), int(_AFTER_S * SAMPLE_RATE_HZ)))
    phones = front_end.phones(one.text)
    found = aligner.align(samples, spoken_words(phones))
    if found is None:
        raise MisfitError("no alignment: the words do not fit the sound")
    segments = with_pauses(phones, found, len(samples) / SAMPLE_RATE_HZ)
    refuse_implausible(segments)
    unsaid_s = loud_pauses_s(samples, segments)
    if unsaid_s > UNSAID_S:
        raise MisfitError(f"{unsaid_s:.1f} s of sound as loud as speech where the text has no words")
    record = {
        "voice": one.voice,
        "stretch": 1.0,
        "text": one.text,
        "samples": len(samples),
        "segments": segments,
        "words": words_of(phones, one.text),
    }
    if trim_times(record, trimming(record)) is None:
        raise MisfitError("too short or too long once its silent ends are cut")
    return Timed(samples=samples, record=record, log_fit=found.log_fit)


def with_pauses(phones: list[Phone], found: Alignment, total_s: float) -> list[Segment]:
    """Segments without a gap, from the opening to the closing pause. Which phones share a syllable is not known."""
    spoken = [phone for phone in phones if phone.symbol != PAUSE]
    segments: list[Segment] = [(PAUSE, _rounded(found.starts_s[0]), 0, -1, 0)]
    word = -1
    for index, phone in enumerate(spoken):
        word += phone.starts_word
        end_s, gap_s = found.ends_s[index], 0.0
        if index + 1 < len(spoken):
            gap_s = found.starts_s[index + 1] - end_s
            if gap_s < SHORTEST_PAUSE_S:
                end_s += gap_s / 2
        stressed = phone.symbol in VOWELS and bool((phone.id - 1) & 2)
        segments.append((phone.symbol, _rounded(end_s), int(stressed), word, 0))
        if gap_s >= SHORTEST_PAUSE_S:
            segments.append((PAUSE, _rounded(found.starts_s[index + 1]), 0, -1, 0))
    segments.append((PAUSE, _rounded(total_s), 0, -1, 0))
    return segments


def words_of(phones: list[Phone], text: str) -> list[tuple[str, str, str]]:
    """For each spoken word its source token, twice (what a figure is read as is not kept), and the mark after it."""
    words: list[tuple[str, str, str]] = []
    for phone in phones:
        if phone.pause is not None and words:
            words[-1] = (*words[-1][:2], words[-1][2] or _MARKS[phone.pause])
        elif phone.starts_word:
            token = text[phone.start : phone.end]
            words.append((token, token, ""))
    return words


def refuse_implausible(segments: list[Segment]) -> None:
    starts_s = [0.0, *(segment[1] for segment in segments)]
    lasting = [(segment[0], segment[1] - start) for segment, start in zip(segments, starts_s)]
    spoken = [(symbol, seconds) for symbol, seconds in lasting if symbol != PAUSE]
    symbol, longest_s = max(spoken, key=lambda pair: pair[1])
    if longest_s > LONGEST_PHONE_S:
        raise MisfitError(f"a phone ({symbol}) of {longest_s:.2f} s: more is spoken there than the text has")
    pause_s = max((seconds for symbol, seconds in lasting[1:-1] if symbol == PAUSE), default=0.0)
    if pause_s > LONGEST_PAUSE_S:
        raise MisfitError(f"a silence of {pause_s:.1f} s between two words: cut the recording there")
    rate = len(spoken) / sum(seconds for _, seconds in spoken)
    slowest = PHONES_PER_S[0] if len(spoken) > FEW_PHONES else 0.0
    if not slowest <= rate <= PHONES_PER_S[1]:
        raise MisfitError(f"{rate:.0f} phones a second: people speak {PHONES_PER_S[0]:g} to {PHONES_PER_S[1]:g}")


def loud_pauses_s(samples: NDArray[np.int16], segments: list[Segment]) -> float:
    """How long it is loud in pauses: words that the text lacks, music, a second speaker."""
    whole = len(samples) // _FRAME_SAMPLES * _FRAME_SAMPLES
    power = (samples[:whole].astype(np.float64).reshape(-1, _FRAME_SAMPLES) ** 2).mean(axis=1)
    ends = np.array([segment[1] for segment in segments])
    middles_s = (np.arange(len(power)) + 0.5) * _FRAME_SAMPLES / SAMPLE_RATE_HZ
    under = np.minimum(np.searchsorted(ends, middles_s, side="right"), len(ends) - 1)
    paused = np.array([segment[0] == PAUSE for segment in segments])[under]
    if not (~paused).any():
        return 0.0
    loud = power[paused] > _AS_LOUD * np.median(power[~paused])
    return float(loud.sum()) * _FRAME_SAMPLES / SAMPLE_RATE_HZ


def _rounded(seconds: float) -> float:
    return round(float(seconds), 4)


Refusal = (UnreadableAudioError, MisfitError)
