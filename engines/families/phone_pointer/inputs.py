"""The `pointer` inputs: what the speech model sees of a sequence at each step, as rows of its input table.

Every value is a function of the segment's phones inside the look-ahead and of the step; nothing depends on when text
arrived. The last code, which the model sees too, is the Talker's to add. `models/lm_data.py` builds the same values for
training.
"""

from __future__ import annotations

from engines.families.phone_pointer.bundle import Bundle, PointerAdapter
from engines.families.phone_pointer.durations import Place
from engines.families.phone_pointer.segmenter import Around, Segment


def row_of(bundle: Bundle, segment: Segment, speaker: int, at: Place) -> list[int]:
    """[F - 1]: all rows of the table for one step but the code's."""
    adapter = bundle.adapter
    known = segment.around.get(at.pointer)
    if known is None:
        known = segment.around[at.pointer] = _around(adapter, segment, at.pointer, speaker)
    phones, begin, end, rest = known
    hop, offsets = at.step * bundle.frames_per_code, adapter.offsets
    since, left = _cut(hop - begin, adapter.since), _cut(end - hop, adapter.left)
    return [*phones, offsets["since"] + since, offsets["left"] + left, *rest]


def _around(adapter: PointerAdapter, segment: Segment, pointer: int, speaker: int) -> Around:
    """What all steps of one phone share: rows of the phones around it; when it begins and ends, in hops; the rest."""
    offsets, ends = adapter.offsets, segment.ends
    following = ends[pointer + 1] - ends[pointer] if pointer + 1 < len(ends) else 0
    distance, kind = next_pause(adapter, segment, pointer)
    ids, block = window(adapter, segment, pointer), adapter.num_phone_ids
    rest = [
        offsets["following"] + _cut(following, adapter.following),
        offsets["to_pause"] + distance,
        offsets["pause_type"] + kind,
        offsets["speaker"] + speaker,
    ]
    phones = [offsets["phones"] + place * block + phone for place, phone in enumerate(ids)]
    return phones, ends[pointer - 1] if pointer else 0, ends[pointer], rest


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


def _cut(value: int, limits: tuple[int, int]) -> int:
    """Counted from the least value that is told apart."""
    return min(max(value, limits[0]), limits[1]) - limits[0]
