"""Where each word of a known text lies in a recording, by pocketsphinx's forced alignment.

It knows nothing of the model that spoke. Its frames are 10 ms apart and each looks at a window of 25.6 ms; measured
against the teacher's own times (see `word_times`) it is a ruler with errors of some tens of milliseconds itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
_PADDING_SAMPLES = 3_200  # silence around the utterance, which the aligner needs to find its ends
_FRAME_S = 0.01
_WINDOW_S = 0.0256

Span = tuple[float, float]


class Aligner:
    def __init__(self) -> None:
        model = Path(os.path.dirname(pocketsphinx.__file__)) / "model" / "en-us"
        self._decoder = pocketsphinx.Decoder(
            hmm=str(model / "en-us"),
            dict=str(model / "cmudict-en-us.dict"),
            lm=None,
            loglevel="FATAL",
            samprate=SAMPLE_RATE_HZ,
            beam=1e-80,
            wbeam=1e-60,
        )

    def knows(self, word: str) -> bool:
        return self._decoder.lookup_word(word) is not None

    def align(self, samples: NDArray[np.int16], words: list[str]) -> list[Span] | None:
        """16 kHz mono samples [S] and lower-case words -> start and end in seconds of each; None when it fails."""
        silence = np.zeros(_PADDING_SAMPLES, np.int16)
        raw = np.concatenate([silence, samples, silence]).tobytes()
        self._decoder.set_align_text(" ".join(words))
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        try:
            self._decoder.end_utt()
        except RuntimeError:  # its way of saying that no path reached the end
            return None
        # A frame stands for the middle of its window.
        shift_s = (_WINDOW_S - _FRAME_S) / 2 - _PADDING_SAMPLES / SAMPLE_RATE_HZ
        found = [
            (one.start_frame * _FRAME_S + shift_s, (one.end_frame + 1) * _FRAME_S + shift_s)
            for one in self._decoder.seg() or ()
            if not one.word.startswith(("<", "["))
        ]
        return found if len(found) == len(words) else None
