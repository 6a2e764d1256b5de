"""Few streams in the works at once, and calls of the LM that end soon: what a newcomer waits for on a busy machine."""

from __future__ import annotations

import pytest

from engines.bundle import Bundle
from engines.cost_model import CostShape
from engines.messages import Cancel, Finished, SetPaused, StandBack
from engines.scheduler import COMFORTABLE_S
from tests.engine.test_scheduling import LONG, SHORT, House


def test_as_many_as_the_machine_keeps_up_with_are_let_in(bundle: Bundle) -> None:
    """Parallel downloads, each followed by the next: many are in the works all the time, nobody has to be refused."""
    house = House(bundle)
    for turn in range(200):
        for worker in range(40):
            last = house.listeners.get(f"{worker} {turn - 1}")
            if turn == 0 or (last is not None and last.end is not None):
                house.ask(f"{worker} {turn}", SHORT)
            elif last is not None:
                house.listeners[f"{worker} {turn}"] = last
        house.run(0.1)
    ends = [one.end for one in house.listeners.values() if one.end is not None]
    assert len(ends) > 1000
    assert all(isinstance(end, Finished) for end in ends)


def test_where_some_are_refused_few_are_in_the_works(bundle: Bundle) -> None:
    slow = House(bundle, lm_s=(0.3e-3, 0.8e-3), vocoder_s=(0.3e-3, 0.3e-3))
    backlogs = []
    for index in range(150):
        slow.ask(f"s{index}", LONG)
        slow.run(0.1)
        backlogs.append(slow.engine._load().backlog)
    assert max(backlogs) > 14, "all come at first"
    assert max(backlogs[75:]) <= 12
    assert len(slow.admitted()) > 20
    assert sum(one.underruns for one in slow.listeners.values()) == 0


def test_in_the_works_is_who_can_be_made_and_has_not_got_plenty(bundle: Bundle) -> None:
    house = House(bundle)

    def backlog() -> int:
        return house.engine._load().backlog

    for name in ("one", "two", "paused", "back"):
        house.ask(name, LONG)
    house.ask("fed", "It goes on, ", end=False)
    house.ask("capped", LONG, max_lead_s=0.3)
    house.step()
    assert backlog() == 6
    house.engine.submit(SetPaused(request_id="paused", paused=True))
    house.engine.submit(StandBack(request_id="back"))
    while not house.listeners["fed"].waiting:
        house.step()
    assert house.engine._sequences["capped"].above_cap_s(house.clock.now_s) > 0
    assert backlog() == 2, "one and two"
    for name in ("one", "two"):
        sequence = house.engine._sequences[name]
        while sequence.lead_s(house.clock.now_s, len(sequence.codes)) <= COMFORTABLE_S:
            house.step()
    house.engine.submit(Cancel(request_id="capped"))  # its cap lets it be made for a moment at a time
    house.step()
    assert backlog() == 0
    assert not house.listeners["one"].end, "there is more to speak"


def test_a_call_over_many_is_made_in_parts(bundle: Bundle) -> None:
    house = House(bundle)
    for index in range(60):
        house.ask(f"s{index}", LONG)
    house.run(0.5)
    before = len(house.lm.calls)
    house.run(0.5)
    calls = house.lm.calls[before:]
    assert max(calls) < 30
    assert sum(calls) > 8 * len(calls), "but not in so many that all time goes into their beginnings"


def test_what_a_call_costs_without_rows_is_told_as_a_share() -> None:
    shape = CostShape(base_s=1e-3, row_s=1e-4, unit_s=1e-6)
    rows = shape.rows_where_base_is(0.2, size=100)
    assert rows == pytest.approx(20)
    assert shape.base_s == pytest.approx(0.2 * shape.cost_s(round(rows), 100))
