"""The `pointer` input adapter: writes what the LM sees of each sequence into its slot's row.

Every value is a function of the segment's phones inside the look-ahead, the pointer and the previous code; nothing
depends on when text arrived. `models/lm_data.py` builds the same values for training.
"""

from __future__ import annotations

import math

import numpy as np

from engines.bundle import PointerAdapter
from engines.runtime.base import StepInputs
from engines.segmenter import Segment
from engines.sequence import Place, Sequence


def moved(at: Place, code: int, advance: int) -> Place:
    """The place after a pick, inside the segment and as long as no guard steps in."""
    if advance:
        return Place(at.pointer + advance, 0, code)
    return Place(at.pointer, at.elapsed + 1, code)


def in_sight(adapter: PointerAdapter, segment: Segment, at: Place) -> bool:
    """Whether a step may be made there: the segment goes on and its look-ahead is known."""
    if at.pointer >= len(segment.phones):
        return False
    return segment.closed or len(segment.phones) > at.pointer + adapter.look_ahead_phones


def write_row(adapter: PointerAdapter, inputs: StepInputs, sequence: Sequence) -> None:
    """The sequence must be `ready`."""
    write_step(adapter, inputs, sequence, sequence.place, sequence.slot, 0)
    inputs.past[sequence.slot] = sequence.past


def write_step(adapter: PointerAdapter, inputs: StepInputs, sequence: Sequence, at: Place, row: int, step: int) -> None:
    """One step at `at` of the open segment into [row, step]. `at` must be in sight."""
    segment = sequence.segments[0]
    inputs.code[row, step] = at.previous_code
    inputs.phones[row, step] = window(adapter, segment, at.pointer)
    inputs.elapsed[row, step] = min(at.elapsed, adapter.max_elapsed)
    distance, kind = next_pause(adapter, segment, at.pointer)
    inputs.to_pause[row, step] = distance
    inputs.pause_type[row, step] = kind
    inputs.speaker[row, step] = sequence.voice.index
    inputs.speed[row, step] = np.float32(math.log(sequence.stretch))


def next_pause(adapter: PointerAdapter, segment: Segment, pointer: int) -> tuple[int, int]:
    """Phones from the pointer to the next pause and its type; (look-ahead + 1, 0) when it lies further."""
    last = min(len(segment.phones), pointer + adapter.look_ahead_phones + 1)
    for position in range(pointer, last):
        kind = segment.phones[position].pause
        if kind is not None:
            return position - pointer, int(kind)
    return adapter.look_ahead_phones + 1, 0


def window(adapter: PointerAdapter, segment: Segment, pointer: int) -> list[int]:
    """Phone ids around the pointer, 0 outside the segment."""
    phones, count = segment.phones, len(segment.phones)
    return [phones[at].id if 0 <= at < count else 0 for at in (pointer + shift for shift in adapter.window)]
