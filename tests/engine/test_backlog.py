"""Few streams in the works at once, and calls of the LM that end soon: what a newcomer waits for on a busy machine."""

from __future__ import annotations

import pytest

from engines.bundle import Bundle
from engines.cost_model import CostShape
from engines.messages import Cancel, Failed, Finished, SetPaused, StandBack
from engines.scheduler import COMFORTABLE_S
from tests.engine.test_scheduling import LONG, SHORT, House


def test_after_a_burst_nobody_comes_until_it_is_worked_off(bundle: Bundle) -> None:
    """Those who came have plenty in hand then, though they will speak for minutes."""
    house = House(bundle)
    for index in range(40):
        house.ask(f"s{index}", LONG)
    house.run(1.4)
    assert len(house.admitted()) == 40, "a burst"
    house.ask("early", SHORT)
    house.run(0.1)
    early = house.listeners["early"].end
    assert isinstance(early, Failed)
    assert early.code == "overloaded"
    house.run(0.7)
    house.ask("later", SHORT)
    house.run(5)
    assert isinstance(house.listeners["later"].end, Finished)
    assert sum(one.underruns for one in house.listeners.values()) == 0
    assert len(house.admitted()) == 41


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
