"""The `pointer` input adapter: writes what the LM sees of each sequence into its slot's row.

Every value is a function of the segment's phones inside the look-ahead, the pointer and the previous code; nothing
depends on when text arrived. `models/lm_data.py` builds the same values for training.
"""

from __future__ import annotations

import math

from engines.bundle import PointerAdapter
from engines.runtime.base import StepInputs
from engines.segmenter import Segment
from engines.sequence import Sequence


def write_row(adapter: PointerAdapter, inputs: StepInputs, sequence: Sequence) -> None:
    """The sequence must be `ready`."""
    segment, row, pointer = sequence.segments[0], sequence.slot, sequence.pointer
    inputs.code[row, 0] = sequence.previous_code
    inputs.phones[row, 0] = _window(adapter, segment, pointer)
    inputs.elapsed[row, 0] = min(sequence.elapsed, adapter.max_elapsed)
    distance, kind = next_pause(adapter, segment, pointer)
    inputs.to_pause[row, 0] = distance
    inputs.pause_type[row, 0] = kind
    inputs.speaker[row, 0] = sequence.voice.index
    inputs.speed[row, 0] = math.log(sequence.stretch)
    inputs.past[row] = sequence.past


def next_pause(adapter: PointerAdapter, segment: Segment, pointer: int) -> tuple[int, int]:
    """Phones from the pointer to the next pause and its type; (look-ahead + 1, 0) when it lies further."""
    last = min(len(segment.phones), pointer + adapter.look_ahead_phones + 1)
    for position in range(pointer, last):
        kind = segment.phones[position].pause
        if kind is not None:
            return position - pointer, int(kind)
    return adapter.look_ahead_phones + 1, 0


def _window(adapter: PointerAdapter, segment: Segment, pointer: int) -> list[int]:
    """Phone ids around the pointer, 0 outside the segment."""
    phones, count = segment.phones, len(segment.phones)
    return [phones[at].id if 0 <= at < count else 0 for at in (pointer + shift for shift in adapter.window)]
