"""Few streams are generated at once, and model calls are short: what a new request waits for on a busy machine."""

from __future__ import annotations

from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Finished, SetPaused, StandBack
from tests.engine.simulator import LONG, SHORT, Machine, Simulator


def test_as_many_as_the_machine_keeps_up_with_are_let_in(bundle: Bundle) -> None:
    """Parallel downloads, each followed by the next: many are in flight all the time, and none has to be rejected."""
    simulator = Simulator(bundle)
    for round_ in range(200):
        for worker in range(40):
            last = simulator.listeners.get(f"{worker} {round_ - 1}")
            if round_ == 0 or (last is not None and last.end is not None):
                simulator.ask(f"{worker} {round_}", SHORT)
            elif last is not None:
                simulator.listeners[f"{worker} {round_}"] = last
        simulator.run(0.1)
    ends = [one.end for one in simulator.listeners.values() if one.end is not None]
    assert len(ends) > 1000
    assert all(isinstance(end, Finished) for end in ends)


def test_where_some_are_refused_few_are_in_the_works(bundle: Bundle) -> None:
    slow = Simulator(bundle, Machine(step_s=(0.3e-3, 0.8e-3), job_s=(0.3e-3, 0.3e-3), read_s=0))
    busy = []
    for index in range(400):
        slow.ask(f"s{index}", SHORT)
        slow.run(0.02)
        busy.append(slow.engine.load().busy)
    assert max(busy) > 8, "all come at first"
    assert max(busy[200:]) <= 8
    assert len(slow.admitted()) > 20
    assert sum(one.underruns for one in slow.listeners.values()) == 0


def test_in_the_works_is_who_can_be_made_and_has_not_got_plenty(bundle: Bundle) -> None:
    simulator = Simulator(bundle)

    def backlog() -> int:
        return simulator.engine.load().busy

    for name in ("one", "two", "paused", "back"):
        simulator.ask(name, LONG)
    simulator.ask("fed", "It goes on, ", end=False)
    simulator.step()
    assert backlog() == 5
    simulator.engine.submit(SetPaused(request_id="paused", paused=True))
    simulator.engine.submit(StandBack(request_id="back"))
    while not simulator.listeners["fed"].waiting:
        simulator.step()
    assert backlog() == 2, "one and two"
    for name in ("one", "two"):
        sequence = simulator.engine.sequences[name]
        while sequence.lead_s(simulator.clock.now_s, sequence.made) <= 125 * bundle.code_s:
            simulator.step()
    simulator.step()
    assert backlog() == 0
    assert not simulator.listeners["one"].end, "there is more to speak"


def test_a_call_over_many_is_made_in_parts(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    for index in range(60):
        simulator.ask(f"s{index}", LONG)
    simulator.run(0.5)
    before = len(simulator.lm.calls)
    simulator.run(0.5)
    calls = simulator.lm.rows[before:]
    assert max(calls) < 30
    assert sum(calls) > 8 * len(calls), "but not in so many that all time goes into their beginnings"
