"""The `pointer` inputs: what the speech model sees of a sequence at each step, as rows of its input table.

    hop       0   1   2   3 | 4   5   6   7 | 8   9  10  11      steps of 4 hops, one code each
    phone     pau     h             ay                  pau
    ends      2       5                     10

At each step the phone under its middle is being spoken: the pointer. Every value is a function of the segment's phones
inside the look-ahead and of the step; nothing depends on when text arrived. The last code, which the model sees too, is
the Talker's to add. `models/lm_data.py` builds the same values for training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.families.base import Frames, Rows
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.segmenter import Segment
from engines.runtime.base import IntArray


class StepInputs:
    """Writes `Segment.rows`, as far as the plan and the look-ahead reach: many steps at once."""

    def __init__(self, bundle: Bundle) -> None:
        adapter = bundle.adapter
        self._look_ahead, self._frame_hops = adapter.look_ahead_phones, bundle.frames_per_code
        self._window = np.array(adapter.window) - adapter.window[0]
        self._before, self._behind = -adapter.window[0], adapter.window[-1]
        self._width = len(adapter.window)
        offsets = adapter.offsets
        self._blocks = offsets["phones"] + adapter.num_phone_ids * np.arange(self._width)
        self._columns = np.array([offsets[name] for name in _BEHIND_THE_PHONES])
        limits = np.array([adapter.since, adapter.left, adapter.following])
        self._least, self._most = limits[:, 0], limits[:, 1]

    def extend(self, segment: Segment, speaker: int) -> None:
        """The next steps' rows, [F - 1] each: all rows of the table but the code's."""
        ends, first, hops = segment.ends, len(segment.rows), self._frame_hops
        whole = segment.closed and len(ends) == len(segment.phones)
        known = len(ends) if whole else len(ends) - 1  # phones, with the length of the one behind them
        if not segment.closed:
            known = min(known, len(segment.phones) - self._look_ahead)
        if known <= 0:
            return
        last = -(-(ends[known - 1] - hops // 2) // hops)
        if whole:
            last = max(1, last)  # shorter than half a step: it has one all the same
        if last <= first:
            return
        low = segment.pointers[-1] if first else 0
        phones = np.arange(low, known)
        until = np.array([ends[low - 1] if low else 0, *ends[low : known + 1], *([ends[-1]] if whole else [])])
        steps = np.arange(first, last) * hops
        at = np.minimum(np.searchsorted(until[1:-1], steps + hops // 2, side="right"), len(phones) - 1)
        rows = np.empty((last - first, self._width + len(self._columns)), np.int64)
        rows[:, : self._width] = self._around(segment, low, known)[at]
        seen = rows[:, self._width :]
        seen[:, 0] = steps - until[at]
        seen[:, 1] = until[at + 1] - steps
        seen[:, 2] = until[at + 2] - until[at + 1]
        seen[:, :3] = seen[:, :3].clip(self._least, self._most) - self._least
        seen[:, 3:5] = self._to_pause(segment, phones)[at]
        seen[:, 5] = speaker
        seen += self._columns
        segment.rows.extend(rows)  # views: a batch of them is copied three times as fast as lists
        segment.pointers += phones[at].tolist()

    def _around(self, segment: Segment, first: int, last: int) -> IntArray:
        """-> [last - first, W]: ids around each phone, 0 outside the segment."""
        near = segment.padded(segment.ids, first - self._before, last + self._behind)
        places: IntArray = near[np.arange(last - first)[:, None] + self._window] + self._blocks
        return places

    def _to_pause(self, segment: Segment, phones: IntArray) -> NDArray[np.int64]:
        """-> [P, 2]: phones to the next pause and its type; (look-ahead + 1, 0) when it lies further."""
        beyond = self._look_ahead + 1
        pauses = np.array([*segment.pauses, int(phones[-1]) + beyond])
        following = pauses[np.searchsorted(pauses, phones)]
        distance = np.minimum(following - phones, beyond)
        kinds = segment.padded(segment.kinds, int(phones[0]), int(phones[-1]) + beyond + 1)
        return np.stack([distance, np.where(distance < beyond, kinds[distance + phones - phones[0]], 0)], axis=1)


_BEHIND_THE_PHONES = ("since", "left", "following", "to_pause", "pause_type", "speaker")


def frames_of(bundle: Bundle, codes: IntArray, rows: Rows) -> Frames:
    """codes [...], rows [..., F - 1] of the steps that made them -> [..., W]: each code, and what a vocoder that sees
    the text sees beside it. A row of zeros, of no text, counts as the first row of its table."""
    frames = np.empty((*codes.shape, bundle.frame_width), np.int64)
    frames[..., 0] = codes
    np.maximum(rows[..., : bundle.frame_width - 1] - bundle.adapter.offsets["phones"], 0, out=frames[..., 1:])
    return frames
