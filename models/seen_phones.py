"""What the decoder sees of the text beside each code: the phones around the pointer, and where it is in its phone.

Codes then carry only what the text does not say. The numbers are those rows of the speech model's input table
(`models.speech_lm.feature_rows`) that say the same, counted from its first phone row, so that serving has them already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.families.phone_pointer.bundle import Bundle
from engines.text import NUM_PHONE_IDS
from models.codec import FRAMES_PER_CODE
from models.framing import HOP, SAMPLE_RATE_HZ
from models.lm_data import phone_ids, pointers
from models.speech_lm import LEFT, SINCE, WINDOW
from models.teacher.prepare import Utterance

_PLACES = NUM_PHONE_IDS * np.arange(len(WINDOW))
_SINCE_ROW = NUM_PHONE_IDS * len(WINDOW)
_LEFT_ROW = _SINCE_ROW + SINCE[1] - SINCE[0] + 1
SEEN_ROWS = _LEFT_ROW + LEFT[1] - LEFT[0] + 1
SEEN_COLUMNS = len(WINDOW) + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneTimes:
    """P phones of one utterance."""

    phones: np.ndarray  # [P] ids
    ends: np.ndarray  # [P] in hops from the first sample

    def seen(self, start: int, codes: int) -> np.ndarray:
        """Of `codes` codes from hop `start` on: rows [codes, SEEN_COLUMNS] of the decoder's table."""
        ends = self.ends - start
        pointer = pointers(ends, codes)
        begin = np.arange(codes) * FRAMES_PER_CODE
        began = np.concatenate([[-start], ends[:-1]])[pointer]
        padded = np.pad(self.phones, (-WINDOW[0], WINDOW[-1]))
        around = padded[pointer[:, None] - WINDOW[0] + np.array(WINDOW)] + _PLACES
        since = np.clip(begin - began, *SINCE) - SINCE[0] + _SINCE_ROW
        left = np.clip(ends[pointer] - begin, *LEFT) - LEFT[0] + _LEFT_ROW
        return np.concatenate([around, since[:, None], left[:, None]], axis=1)


def served_frames(bundle: Bundle, codes: np.ndarray, times: PhoneTimes | None) -> np.ndarray:
    """codes [N] of an utterance from its start -> frames [N, W], as its bundle's vocoder takes them."""
    if not bundle.vocoder.sees_text:
        return codes[:, None].astype(np.int64)
    if times is None:
        raise ValueError(f"the vocoder of {bundle.name!r} sees the text, and these codes came without phone times")
    return np.concatenate([codes[:, None], times.seen(0, len(codes))], axis=1)


def phone_times(utterance: Utterance) -> PhoneTimes:
    ends_s = np.array([segment[1] for segment in utterance.segments])
    return PhoneTimes(phones=phone_ids(utterance), ends=np.round(ends_s * SAMPLE_RATE_HZ / HOP).astype(int))
