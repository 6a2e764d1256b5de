"""Reads speech back with pocketsphinx and counts word errors against what should have been spoken.

pocketsphinx brings an English model of its own, so this works offline. It is a noisy ruler: compare with the teacher
on the same sentences, never with zero.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np
import pocketsphinx
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
_PADDING_SAMPLES = 3_200  # silence around the utterance, which the recogniser needs to find its ends


class Recogniser:
    """General dictation, or a closed grammar when one is given (JSGF text)."""

    def __init__(self, grammar: str | None = None) -> None:
        model = Path(os.path.dirname(pocketsphinx.__file__)) / "model" / "en-us"
        common = {
            "hmm": str(model / "en-us"),
            "dict": str(model / "cmudict-en-us.dict"),
            "loglevel": "FATAL",
            "samprate": SAMPLE_RATE_HZ,
        }
        if grammar is None:
            self._decoder = pocketsphinx.Decoder(lm=str(model / "en-us.lm.bin"), **common)
            return
        with tempfile.NamedTemporaryFile("w", suffix=".jsgf") as file:
            file.write(grammar)
            file.flush()
            self._decoder = pocketsphinx.Decoder(jsgf=file.name, **common)

    def transcribe(self, samples: NDArray[np.int16]) -> str:
        """16 kHz mono samples [S] -> lower-case words"""
        silence = np.zeros(_PADDING_SAMPLES, np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(np.concatenate([silence, samples, silence]).tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return str(hypothesis.hypstr).lower() if hypothesis else ""


def word_error_rate(spoken: Sequence[str], heard: Sequence[str]) -> float:
    """Errors over words, both sides reduced to lower-case letters and apostrophes."""
    return float(jiwer.wer([_plain(text) for text in spoken], [_plain(text) for text in heard]))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", "", text.lower().replace("-", " ")).split())
