"""What a plan holds, as a function of plain numbers."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.families.common.slot_calls import ranges
from engines.scheduling.policy import NO_AUDIO, URGENT, Prefill, Step, Vocode, calls, vocode
from tests.engine.streams import FRAME_S, Machine, PlainStream, view

SLICE_S, URGENT_S = 0.5 * FRAME_S, URGENT * FRAME_S
MOST_PENDING = 16  # two of the largest chunks


def stepped(*streams: PlainStream, **changes: object) -> list[list[int]]:
    """Slots of each step of a plan."""
    found = calls(view(*streams, **changes), 0.0)  # type: ignore[arg-type]
    return [[one.slot for one in item.streams] for item in found if isinstance(item, Step)]


def job(*streams: PlainStream, **changes: object) -> Vocode | None:
    return vocode(view(*streams, **changes), 0.0)[0]  # type: ignore[arg-type]


# -- whose frames are made -------------------------------------------------------------------------------------------


def test_work_ahead_is_for_idle_capacity() -> None:
    far, near, low, new = (PlainStream(slot, lead) for slot, lead in enumerate((9.0, 1.0, 0.3, NO_AUDIO)))
    assert stepped(far, near) == [[0, 1]]
    assert stepped(far, near, low) == [[1, 2]], "while one is below the low water, those far ahead wait"
    urgent = PlainStream(4, 0.05)
    assert stepped(far, near, low, new, urgent) == [[3], [4]], "first audio, and who is about to run dry"


def test_the_most_urgent_go_first() -> None:
    streams = [PlainStream(10 * at, lead_s) for at, lead_s in enumerate((2.0, 0.5, 1.0))]
    assert stepped(*streams) == [[10], [20], [0]]


def test_a_stream_whose_frames_the_vocoder_does_not_take_gets_no_more() -> None:
    full, nearly = PlainStream(0, 0.1, made=MOST_PENDING), PlainStream(1, 1.0, made=MOST_PENDING - 1)
    assert stepped(full, nearly) == [[1]]
    assert stepped(full) == []
    between = [PlainStream(slot, made=MOST_PENDING if slot == 1 else 0) for slot in range(3)]
    assert stepped(*between) == [[0, 2]], "nor does a call over its slot step it"


def test_streams_that_stand_back_come_behind_all_others() -> None:
    back, other = PlainStream(0, 0.0, stands_back=True), PlainStream(9, 8.0)
    assert stepped(back, other) == [[9], [0]]
    assert stepped(back, PlainStream(9, 0.1)) == [[9]]
    assert stepped(back) == [[0]]


def test_first_chunks_are_made_together_and_at_once() -> None:
    """Of five new streams four in one item, half an efficient batch, which makes all of their first chunks."""
    machine = Machine(step_s=(0.2e-3, 0.1e-3))
    assert machine.profile.efficient_rows == 8
    new = [PlainStream(slot, NO_AUDIO, arrived_s=float(-slot)) for slot in range(5)]
    found = calls(view(*new, PlainStream(9, 3.0), first_chunk=4, machine=machine), 0.0)
    assert [[one.slot for one in item.streams] for item in found] == [[4, 3, 2, 1], [0]]
    assert all(isinstance(item, Step) and item.first_chunk == 4 for item in found)


def test_a_stream_whose_first_chunk_is_made_holds_no_other_up() -> None:
    made, other = PlainStream(0, NO_AUDIO, made=2), PlainStream(9, 0.3)
    assert stepped(made, other) == [[0], [9]]
    assert stepped(PlainStream(0, NO_AUDIO, made=2, quiet_frames=1), other) == [[0]], "its opening does not count"


def test_nothing_is_made_ahead_while_a_first_chunk_is_in_the_vocoder() -> None:
    first, ahead, dry = PlainStream(0, NO_AUDIO, made=4, in_vocoder=True), PlainStream(1), PlainStream(2, 0.05)
    assert stepped(first, ahead) == []
    assert stepped(first, ahead, dry) == [[2]]
    assert stepped(first, ahead, PlainStream(3, NO_AUDIO)) == [[3]], "another new one does not wait"
    assert stepped(PlainStream(0, 0.3, in_vocoder=True), ahead) == [[0, 1]], "its listener has the first chunk"
    assert stepped(PlainStream(0, NO_AUDIO, made=4, in_vocoder=True, stands_back=True), ahead) == [[0, 1]]


def test_a_plan_fits_its_slice_of_time_and_is_made_in_efficient_parts() -> None:
    streams = [PlainStream(slot, 1.0 + slot / 1000) for slot in range(64)]
    machine = Machine(step_s=(0.3e-3, 0.1e-3))
    found = stepped(*streams, machine=machine)
    rows = [len(slots) for slots in found]
    assert machine.profile.step_s(sum(rows)) <= SLICE_S
    efficient = machine.profile.efficient_rows
    assert sum(rows) > machine.profile.rows_within(SLICE_S) - 2 * efficient
    assert max(rows) <= 2 * efficient
    assert [slot for slots in found for slot in slots] == list(range(sum(rows)))
    assert len(stepped(*streams, machine=Machine(step_s=(3e-3, 1e-3)))) == 1, "on a slow machine one call is enough"


def test_many_wanted_streams_are_stepped_in_whole_blocks_the_most_urgent_first() -> None:
    far, near = (
        [PlainStream(slot, lead_s) for slot in slots]
        for slots, lead_s in ((range(0, 64, 2), 1.5), (range(1, 64, 2), 0.2))
    )
    near[-1].lead_s = 0.13
    found = stepped(*far, *near, machine=Machine(step_s=(0.3e-3, 0.1e-3)))
    assert all(slots == list(range(slots[0], slots[-1] + 1)) for slots in found), "no gaps"
    assert found[0][-1] == 63


def test_idle_rows_of_a_call_step_whatever_can_use_a_step() -> None:
    wanted = [PlainStream(slot, 0.3) for slot in (0, 2)]
    assert stepped(*wanted, PlainStream(1, 9.0)) == [[0, 1, 2]]
    assert stepped(*wanted, PlainStream(1, 9.0, can_step=False)) == [[0, 2]]


def test_prompts_are_filled_before_steps() -> None:
    prompt = PlainStream(1, NO_AUDIO, can_prefill=True, can_step=False)
    found = calls(view(PlainStream(0), prompt), 0.0)
    assert [type(item) for item in found] == [Prefill, Step]
    assert found[0].streams == [prompt]


def test_few_rows_are_drafted_and_new_streams_one_by_one() -> None:
    new, old = PlainStream(0, NO_AUDIO, arrived_s=1.0), PlainStream(1, 0.05)
    newer = PlainStream(2, NO_AUDIO, arrived_s=2.0)
    drafted = calls(view(newer, new, drafts=(True, True)), 0.0)
    assert [(one.streams, one.drafts) for one in drafted if isinstance(one, Step)] == [([new], True), ([newer], True)]
    plain = calls(view(newer, new, drafts=(False, False)), 0.0)
    assert [(item.streams, item.drafts) for item in plain if isinstance(item, Step)] == [([new, newer], False)]
    many = calls(view(new, old, newer, drafts=(True, True)), 0.0)
    assert all(item.drafts is None for item in many if isinstance(item, Step)), "more rows than are drafted"


@given(st.sets(st.integers(0, 127)), st.integers(0, 8))
def test_ranges_hold_all_that_is_wanted_and_small_gaps(slots: set[int], most_idle: int) -> None:
    found = ranges(slots, most_idle)
    covered = [slot for first, last in found for slot in range(first, last)]
    assert slots <= set(covered)
    assert len(covered) == len(set(covered))
    assert all(first in slots and last - 1 in slots for first, last in found)
    gaps = [other[0] - one[1] for one, other in pairwise(found)]
    assert all(gap > most_idle for gap in gaps)


@given(st.data())
def test_the_most_urgent_is_always_in_the_first_call(data: st.DataObject) -> None:
    rng = random.Random(data.draw(st.integers(0, 10_000)))
    slots = rng.sample(range(128), rng.randint(1, 60))
    leads = (NO_AUDIO, 0.05, 0.3, 1.0, 3.0)
    streams = [PlainStream(slot, rng.choice(leads), arrived_s=float(slot)) for slot in slots]
    most_urgent = min(streams, key=lambda one: (one.lead_s, one.arrived_s))
    assert most_urgent.slot in stepped(*streams)[0]


# -- whose frames are vocoded ----------------------------------------------------------------------------------------


def test_chunks_grow_with_the_lead_and_are_never_smaller_than_a_first_one() -> None:
    for first, sizes in ((1, (1, 2, 4, 8)), (2, (2, 2, 4, 8)), (4, (4, 4, 4, 8))):
        for lead_s, size in zip((0.0, 0.2, 0.5, 2.0), sizes, strict=True):
            due = [made for made in range(1, 12) if job(PlainStream(0, lead_s, made=made), first_chunk=first)]
            assert due[0] == size, "on a loaded machine small chunks would cost what it lacks"
    assert job(PlainStream(0, 0.0, made=12)).frames == 8  # type: ignore[union-attr]


def test_a_first_chunk_is_whole_but_for_a_text_that_has_ended() -> None:
    def frames(made: int, first: int, *, closes: bool = False, quiet: int = 0) -> int | None:
        new = PlainStream(0, NO_AUDIO, made=made, closes=closes, quiet_frames=quiet)
        found = job(new, first_chunk=first)
        return None if found is None else found.frames

    assert [frames(made, 2) for made in (1, 2, 3)] == [None, 2, 3]
    assert [frames(made, 4) for made in (3, 4)] == [None, 4]
    assert frames(1, 4, closes=True) == 1
    assert [frames(made, 2, quiet=1) for made in (2, 3)] == [None, 3]


def test_sizes_are_multiples_for_a_codec_frame_of_several_steps() -> None:
    sizes = {"chunk_frames": (7, 14, 28), "first_chunk": 14}
    made = [job(PlainStream(0, 0.1, made=made), **sizes) for made in range(40)]
    assert {one.frames for one in made if one is not None} <= {7, 14, 28}
    starved = job(PlainStream(0, 0.1, made=6, can_step=False), **sizes)
    assert starved is None, "a part of a codec frame sounds at the end only"
    assert job(PlainStream(0, 0.1, made=6, closes=True), **sizes).frames == 6  # type: ignore[union-attr]


def test_a_first_frame_alone_waits_for_words_that_come_fast() -> None:
    alone = PlainStream(0, NO_AUDIO, made=1, can_step=False, expects_words_s=0.03)
    assert vocode(view(alone), 5.0) == (None, 5.03)
    alone.expects_words_s = 0.0
    assert job(alone) is not None


def test_the_end_of_a_text_closes_with_a_job_of_no_frames() -> None:
    found = job(PlainStream(0, 1.0, closes=True, can_step=False))
    assert found is not None
    assert found.frames == 0
    assert vocode(view(PlainStream(0, 1.0, can_step=False)), 0.0) == (None, math.inf)


@pytest.mark.parametrize(
    ("leads_s", "rows", "urgent"),
    [
        ((NO_AUDIO, 0.2, 0.25, 9.0), 1, True),
        ((NO_AUDIO, NO_AUDIO, 0.9 * URGENT_S, 0.2, 0.25), 3, True),
        ((0.2, 0.25), 2, False),
    ],
)
def test_a_stream_that_can_wait_never_goes_with_an_urgent_one(
    leads_s: tuple[float, ...], rows: int, urgent: bool
) -> None:
    streams = [PlainStream(slot, lead_s, made=2, can_step=False) for slot, lead_s in enumerate(leads_s)]
    found = job(*streams)
    assert found is not None
    assert (len(found.streams), found.urgent) == (rows, urgent)
    assert found.streams == streams[: len(found.streams)]


def test_a_job_holds_so_many_frames_and_only_of_one_size() -> None:
    streams = [PlainStream(slot, 2.0, made=8) for slot in range(9)] + [PlainStream(20, 0.5, made=4)]
    found = job(*streams)
    assert found is not None
    assert (found.frames, [one.slot for one in found.streams]) == (4, [20])
    found = job(*streams[:9], job_frames=32)
    assert found is not None
    assert (found.frames, len(found.streams)) == (8, 4)


def test_without_room_only_urgent_streams_are_looked_at() -> None:
    calm, urgent = PlainStream(0, 1.0, made=8), PlainStream(1, 0.05, made=8)
    assert job(calm, has_room=False) is None
    assert job(calm, urgent, has_room=False).streams == [urgent]  # type: ignore[union-attr]
