"""Where each phone of a known text lies in a recording: our phones, timed by pocketsphinx's forced alignment.

The words go to the aligner as the front end pronounces them, spelled in its own phones, so its dictionary has no say.
Silence may stand between any two words. A first pass finds the words and the silences, a second one the phones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

from engines.text import VOWELS, Phone
from engines.text.phones import PAUSE

SAMPLE_RATE_HZ = 16_000
FRAME_S = 0.01
_WINDOW_S = 0.0256
_PADDING_SAMPLES = 3_200  # silence around the utterance, which the aligner needs to find its ends
_MODEL = Path(os.path.dirname(pocketsphinx.__file__)) / "model" / "en-us" / "en-us"
# A best path through the word lattice may give a word fewer frames than it has states; the second pass then fails.
# Silence is as likely as none: with the recogniser's own 0.005 a third of the teacher's pauses were not found.
_SEARCH = {"beam": 1e-80, "wbeam": 1e-80, "pbeam": 1e-80, "bestpath": False, "cmn": "batch", "silprob": 1.0}

# Where the recogniser's alphabet (CMU's) has no phone of ours, its nearest; a syllabic consonant is two of its phones.
_NEAREST = {
    "ax": ("AH",),
    "axr": ("ER",),
    "dx": ("D",),
    "el": ("AH", "L"),
    "em": ("AH", "M"),
    "en": ("AH", "N"),
    "hv": ("HH",),
    "nx": ("N",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Of N phones without the pauses: when each begins and ends, in seconds, and how well the sound fits it."""

    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    log_fit: float  # mean over all frames of speech; 0 would be the best of all sounds in each frame


def recogniser_phones(symbol: str) -> tuple[str, ...]:
    return _NEAREST.get(symbol, (symbol.upper(),))


def spoken_words(phones: list[Phone]) -> list[list[Phone]]:
    """The phones of each word, pauses left out. What has no vowel ("it's": its s) belongs to the word before it:
    no silence can come between."""
    words: list[list[Phone]] = []
    for phone in phones:
        if phone.symbol == PAUSE:
            continue
        if phone.starts_word or not words:
            words.append([])
        words[-1].append(phone)
    joined: list[list[Phone]] = []
    for word in words:
        clitic = not any(phone.symbol in VOWELS for phone in word)
        if clitic and joined and joined[-1][-1].word_index == word[0].word_index:
            joined[-1] += word
        else:
            joined.append(list(word))
    return joined


class PhoneAligner:
    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(
            hmm=str(_MODEL), dict=None, lm=None, loglevel="FATAL", samprate=SAMPLE_RATE_HZ, **_SEARCH
        )

    def align(self, samples: NDArray[np.int16], words: list[list[Phone]]) -> Alignment | None:
        """16 kHz mono samples [S] and `spoken_words` -> the times of their phones; None when no path was found."""
        silence = np.zeros(_PADDING_SAMPLES, np.int16)
        raw = np.concatenate([silence, samples, silence]).tobytes()
        self._decoder.set_align_text(" ".join(self._name(word) for word in words))
        try:
            self._run(raw)
            self._decoder.set_alignment()
            self._run(raw)
            found = self._decoder.get_alignment()
        except RuntimeError:  # its way of saying that no path reached the end
            return None
        spans = [
            (phone.start, phone.start + phone.duration, phone.score)
            for word in found or ()
            if not word.name.startswith(("<", "["))
            for phone in word
        ]
        counts = [len(recogniser_phones(phone.symbol)) for word in words for phone in word]
        if len(spans) != sum(counts):
            return None
        # A frame stands for the middle of its window.
        shift_s = (_WINDOW_S - FRAME_S) / 2 - _PADDING_SAMPLES / SAMPLE_RATE_HZ
        last = np.cumsum(counts) - 1
        first = last - np.array(counts) + 1
        begins, ends, scores = (np.array(column, np.float64) for column in zip(*spans))
        return Alignment(
            starts_s=begins[first] * FRAME_S + shift_s,
            ends_s=ends[last] * FRAME_S + shift_s,
            log_fit=float(scores.sum() / (ends - begins).sum()),
        )

    def _run(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()

    def _name(self, word: list[Phone]) -> str:
        """Named after its phones, so that a word is in the dictionary once for each way to say it."""
        phones = [one for phone in word for one in recogniser_phones(phone.symbol)]
        name = "_".join(phones)
        if self._decoder.lookup_word(name) is None:
            self._decoder.add_word(name, " ".join(phones), True)
        return name
