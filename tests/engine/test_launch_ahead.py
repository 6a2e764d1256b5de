"""The next step is launched before the last one is read: the order, what it must not change, what it hides."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from engines.config import DraftMode
from engines.families.base import (
    ScriptState,
    Verdict,
)
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Append, Cancel, EndText, Failed, Finished, SetPaused, Submit
from tests.engine.driving import TEXT
from tests.engine.launching import SLOTS, TEXTS, Device, DeviceAhead, Driven, spoken


@pytest.fixture(scope="module")
def alone(bundle: Bundle) -> dict[int, list[int]]:
    return spoken(bundle)


# -- the order


def test_the_next_step_is_launched_before_the_last_is_read(bundle: Bundle) -> None:
    made = Driven(bundle)
    for seed in range(4):
        made.ask(seed, TEXT * 3)
    made.until(lambda: len(made.sounding) == 4)
    before = len(made.device.slots_of)
    made.finish()
    ahead = made.device.ahead[before:]
    assert sum(ahead) > 0.9 * len(ahead)


def test_at_most_one_step_is_launched_ahead(bundle: Bundle) -> None:
    made = Driven(bundle)
    for seed, text in enumerate(TEXTS):
        made.ask(seed, text)
    made.finish()
    unread, most = 0, 0
    for what, _ in made.device.log:
        unread += 1 if what == "launch" else -1
        most = max(most, unread)
    assert most == 2
    assert [step for what, step in made.device.log if what == "wait"] == [*range(len(made.device.slots_of))]


def test_a_talker_that_cannot_is_read_step_by_step(bundle: Bundle) -> None:
    made = Driven(bundle, Device)
    for seed, text in enumerate(TEXTS):
        made.ask(seed, text)
    made.finish()
    assert not any(made.device.ahead)


def test_nothing_is_launched_ahead_while_first_audio_waits(bundle: Bundle) -> None:
    """A new stream finds one step in flight at most, and its own steps wait for nothing."""
    made = Driven(bundle)
    for seed in range(3):
        made.ask(seed, TEXT * 9)
    made.until(lambda: len(made.sounding) == 3 and len(made.device.unread) == 1)
    launched = len(made.device.slots_of)
    made.ask(7, TEXT)
    made.until(lambda: 7 in made.sounding)
    assert 7 in made.device.seeds_of[launched]  # behind the one in flight
    assert not any(made.device.ahead[launched - 1 :])
    at = made.device.log.index(("launch", launched))
    assert made.device.log[at - 1] == ("wait", launched - 1)


@pytest.mark.parametrize("longest", [15, None])
def test_a_segment_goes_on_where_another_row_is_known(bundle: Bundle, longest: int | None) -> None:
    family: Any = Driven(bundle).engine.model.family
    family._bundle = replace(bundle, adapter=replace(bundle.adapter, max_steps=longest or bundle.adapter.max_steps))
    script = family.open(Submit(request_id="", voice=bundle.voices[0].id, seed=0))
    script.append(TEXT)
    script.end()
    while script.readable:
        script.read(20)
    known, ended = 0, 0
    while script.state is ScriptState.READY:
        goes_on = len(script.peek(2)) == 2
        verdict = script.commit(np.zeros(1, np.int64), 0.0, None)
        assert verdict is Verdict.GOES_ON or not goes_on
        known, ended = known + goes_on, ended + (verdict is not Verdict.GOES_ON)
    assert script.state is ScriptState.DONE
    assert known > 3 * ended > 0


# -- what it must not change


@pytest.mark.parametrize("drafts", [DraftMode.OFF, DraftMode.ON, DraftMode.AUTO])
def test_frames_are_those_of_steps_that_are_read_at_once(
    bundle: Bundle, alone: dict[int, list[int]], drafts: DraftMode
) -> None:
    assert spoken(bundle, DeviceAhead, drafts=drafts, draft_rows=SLOTS) == alone
    together = Driven(bundle, drafts=drafts, draft_rows=SLOTS)
    for seed, text in enumerate(TEXTS):
        together.ask(seed, text)
        together.step(3 * seed)
    assert together.finish() == alone
    if drafts is DraftMode.AUTO:
        assert together.engine.stats().counters["drafts_accepted"] > 0
        assert any(together.device.ahead)  # where they do not pay


def test_words_one_by_one(bundle: Bundle, alone: dict[int, list[int]]) -> None:
    made, rng = Driven(bundle), random.Random(5)
    left = {seed: text.split(" ") for seed, text in enumerate(TEXTS)}
    for seed in left:
        made.ask(seed, "", end=False)
    while left:
        seed = rng.choice([*left])
        word = left[seed].pop(0)
        made.engine.submit(Append(request_id=str(seed), text=word + " " * bool(left[seed])))
        if not left[seed]:
            made.engine.submit(EndText(request_id=str(seed)))
            del left[seed]
        made.step(rng.randrange(8))
    assert made.finish() == alone


def test_cancels_at_any_step_leave_the_others_as_they_are(bundle: Bundle, alone: dict[int, list[int]]) -> None:
    """A cancelled stream's slot goes to the next one while a step over it is in flight."""
    made, rng, in_flight, rounds = Driven(bundle), random.Random(3), 0, 0
    for seed in range(100, 400):
        if not made.engine.sequences.keys() & {"0", "4"}:
            assert not rounds or (made.hearing.heard.pop(0), made.hearing.heard.pop(4)) == (alone[0], alone[4])
            made.ask(0, TEXTS[0])
            made.ask(4, TEXTS[4])
            rounds += 1
        made.ask(seed, rng.choice(TEXTS))
        made.step(1 + rng.randrange(12))
        in_flight += bool(made.device.unread)
        made.engine.submit(Cancel(request_id=str(seed)))
    heard = made.finish()
    assert (heard[0], heard[4]) == (alone[0], alone[4])
    assert in_flight > 30
    assert rounds > 2


def test_a_pause_with_a_step_in_flight(bundle: Bundle, alone: dict[int, list[int]]) -> None:
    made = Driven(bundle)
    made.ask(4, TEXTS[4])
    made.until(lambda: bool(made.device.unread) and 4 in made.sounding)
    made.engine.submit(SetPaused(request_id="4", paused=True))
    made.until(lambda: not made.engine.has_work)
    assert made.device.unread == []
    made.engine.submit(SetPaused(request_id="4", paused=False))
    assert made.finish()[4] == alone[4]


# -- what goes wrong


def test_all_cancelled_with_a_step_in_flight(bundle: Bundle) -> None:
    made = Driven(bundle)
    for seed, text in enumerate(TEXTS):
        made.ask(seed, text)
    made.until(lambda: bool(made.device.unread))
    for seed in range(len(TEXTS)):
        made.engine.submit(Cancel(request_id=str(seed)))
    made.engine.attend()
    assert made.engine.has_work  # its results are still to be read
    made.finish()


def test_closing_waits_for_the_step_in_flight(bundle: Bundle) -> None:
    made = Driven(bundle)
    made.ask(4, TEXTS[4])
    made.until(lambda: bool(made.device.unread))
    made.engine.close()
    assert made.device.unread == []


def test_a_step_that_fails_in_flight_ends_its_rows_alone(bundle: Bundle, alone: dict[int, list[int]]) -> None:
    made = Driven(bundle)
    for seed in (0, 4):
        made.ask(seed, TEXTS[seed])
    made.until(lambda: len(made.sounding) == 2 and bool(made.device.unread))
    in_flight = {*made.device.seeds_of[-1]}
    made.device.broken = {*made.device.unread}
    made.ask(2, TEXTS[2])
    made.finish()
    assert made.ended(Failed) == in_flight
    assert made.ended(Finished) == {0, 2, 4} - in_flight
    assert made.hearing.heard[2] == alone[2]


def test_a_row_that_no_step_takes_ends_alone(bundle: Bundle, alone: dict[int, list[int]]) -> None:
    made = Driven(bundle)
    for seed in (0, 2, 4):
        made.ask(seed, TEXTS[seed])
    made.until(lambda: len(made.sounding) == 3 and bool(made.device.unread))
    made.device.refused = {4}
    heard = made.finish()
    assert made.ended(Failed) == {4}
    assert (heard[0], heard[2]) == (alone[0], alone[2])


def test_a_row_that_is_not_finite_takes_the_step_behind_it_along(bundle: Bundle, alone: dict[int, list[int]]) -> None:
    made = Driven(bundle)
    made.device.spoilt = {(4, 20)}
    for seed in (0, 2, 4):
        made.ask(seed, TEXTS[seed])
    heard = made.finish()
    assert made.ended(Failed) == {4}
    assert heard[4] == alone[4][: len(heard[4])]
    assert (heard[0], heard[2]) == (alone[0], alone[2])


# -- what it hides


@pytest.mark.parametrize("share", [0.25, 0.5, 1, 2, 4])
def test_the_shorter_of_replay_and_host_is_hidden(bundle: Bundle, share: float) -> None:
    """On a device whose replays take `share` of the host's time a step."""

    def period_s(kind: type[Device], replay_s: float) -> float:
        made = Driven(bundle, kind, replay_s=replay_s, host_s=50e-6)
        for seed in range(4):
            made.ask(seed, TEXT * 8)
        made.until(lambda: len(made.sounding) == 4)
        first, began_s = len(made.device.slots_of), made.clock.now_s
        made.until(lambda: len(made.device.slots_of) == first + 200)
        return (made.clock.now_s - began_s) / 200

    host_s = period_s(Device, 0.0)
    replay_s = share * host_s
    read_at_once, launched_ahead = period_s(Device, replay_s), period_s(DeviceAhead, replay_s)
    print(f"replay {share:4} of the host's time: {read_at_once / host_s:.2f} -> {launched_ahead / host_s:.2f}")
    assert read_at_once == pytest.approx(host_s + replay_s, rel=0.1)
    assert launched_ahead == pytest.approx(max(host_s, replay_s), rel=0.1)
