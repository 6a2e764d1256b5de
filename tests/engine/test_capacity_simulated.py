"""What a machine sustains is a property of it: simulated machines, hours of nothing, lone streams, bursts, overload."""

from __future__ import annotations

from typing import Any

import pytest

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Failed
from engines.runtime.base import IntArray
from tests.engine.simulator import FAST, LONG, MACHINES, SHORT, Machine, Simulator

TEXT = "The ship was due at nine, but the fog had come down over the harbour and nothing moved. "
TEXT_S = 4.6
THREE = FAST.times(3)
machines = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def simulated(bundle: Bundle, machine: Machine, slots: int = 512) -> Simulator:
    return Simulator(bundle, machine, EngineConfig(slots=slots, workers=False, drafts=DraftMode.OFF))


def offer(simulator: Simulator, streams: float, seconds: float) -> None:
    simulator.arrivals(TEXT, rate_hz=streams / TEXT_S, seconds=seconds)


@machines
def test_the_profile_takes_little_time_and_leaves_nothing_behind(bundle: Bundle, machine: Machine) -> None:
    began_s = 100.0
    simulator = simulated(bundle, machine)
    assert simulator.started_s - began_s < 0.35
    stats = simulator.stats
    assert (stats.running, stats.waiting, stats.lm_steps, set(stats.counters.values())) == (0, 0, 0, {0})
    simulator.engine.check_integrity()


@machines
def test_capacity_does_not_change_with_hours_of_nothing_nor_with_lone_streams(bundle: Bundle, machine: Machine) -> None:
    simulator = simulated(bundle, machine)
    fresh, left = simulator.capacity, simulator.stats.streams_left
    assert left >= 0.35 * fresh
    simulator.rest(hours=3)
    assert simulator.capacity == pytest.approx(fresh, rel=0.15)
    for index in range(20):
        simulator.ask(f"lone{index}", SHORT)
        simulator.finish()
    assert simulator.capacity == pytest.approx(fresh, rel=0.15)
    assert simulator.stats.streams_left == pytest.approx(left, rel=0.15)


@pytest.mark.parametrize(("machine", "is_made"), [(FAST, True), (FAST.times(40), False)], ids=["fast", "slow"])
def test_an_idle_engine_makes_no_call_longer_than_a_frame(bundle: Bundle, machine: Machine, is_made: bool) -> None:
    simulator, rows = simulated(bundle, machine), list[int]()
    step = simulator.lm.step

    def counted(slots: IntArray, *others: Any) -> Any:
        rows.append(len(slots))
        return step(slots, *others)

    simulator.lm.step = counted  # type: ignore[method-assign]
    for _ in range(80):
        simulator.engine.wait(0.0)
    assert (64 in rows) == is_made
    assert 1 in rows


def test_an_idle_engine_is_never_away_for_longer_than_a_frame(bundle: Bundle) -> None:
    """The largest call takes four fifths of one, and the first of a size is made twice."""
    base_s, row_s = FAST.step_s
    frame_s = simulated(bundle, FAST).engine.spec.frame_s
    simulator = simulated(bundle, FAST.times(0.8 * frame_s / (base_s + 64 * row_s)))
    away_s = []
    for _ in range(20):
        began_s = simulator.clock.now_s
        simulator.engine.wait(0.0)
        away_s.append(simulator.clock.now_s - began_s)
    assert 0.5 * frame_s < max(away_s) < frame_s


def test_capacity_does_not_change_with_a_full_load(bundle: Bundle) -> None:
    simulator = simulated(bundle, THREE)
    fresh, left = simulator.capacity, simulator.stats.streams_left
    offer(simulator, 2 * fresh, seconds=8)
    assert simulator.refused() > 0
    simulator.finish()
    assert simulator.capacity == pytest.approx(fresh, rel=0.15)
    simulator.rest(hours=0.01)
    assert simulator.stats.streams_left == pytest.approx(left, rel=0.15)


def test_capacity_is_near_the_knee(bundle: Bundle) -> None:
    """At three quarters of it all are served in time, at five quarters not all can be, with or without admission."""
    capacity = simulated(bundle, THREE).capacity
    below = simulated(bundle, THREE)
    offer(below, 0.75 * capacity, seconds=10)
    below.finish()
    assert (below.refused(), below.underruns()) == (0, 0)
    above = Simulator(bundle, THREE, EngineConfig(slots=512, workers=False, drafts=DraftMode.OFF, sheds=False))
    offer(above, 1.25 * capacity, seconds=15)
    above.finish()
    assert above.underruns(0.1) > 0


def test_a_slower_machine_says_less(bundle: Bundle) -> None:
    plain, slower = (simulated(bundle, machine).capacity for machine in (FAST, THREE))
    assert slower == pytest.approx(plain / 3, rel=0.1)


@pytest.mark.parametrize("text", [TEXT, LONG], ids=["usual", "long"])
def test_a_burst_on_a_fresh_server_is_refused_nothing(bundle: Bundle, text: str) -> None:
    simulator = simulated(bundle, THREE)
    assert simulator.capacity > 45
    simulator.arrivals(text, rate_hz=8, seconds=5)
    assert len(simulator.listeners) == pytest.approx(40, abs=1)
    assert simulator.refused() == 0
    simulator.run(10)
    assert simulator.underruns() == 0


@pytest.mark.parametrize("machine", [THREE, MACHINES["without own kernels"]], ids=["slower", "without own kernels"])
def test_three_times_too_many_are_no_harm_to_those_admitted(bundle: Bundle, machine: Machine) -> None:
    simulator = simulated(bundle, machine)
    offer(simulator, 3 * simulator.capacity, seconds=10)
    simulator.finish()
    assert simulator.refused() > len(simulator.admitted()) / 2
    assert simulator.underruns(0.1) == 0
    refusals = [one.end for one in simulator.listeners.values() if isinstance(one.end, Failed)]
    assert all(one.code == "overloaded" and one.retry_after_s for one in refusals)


@pytest.mark.parametrize("load", [0.7, 3.0])
def test_a_machine_that_loses_half_its_speed_keeps_what_it_admitted(bundle: Bundle, load: float) -> None:
    simulator = simulated(bundle, THREE)
    fresh = simulator.capacity
    offer(simulator, load * fresh, seconds=6)
    simulator.becomes(THREE.times(2))
    simulator.arrivals(TEXT, rate_hz=load * fresh / TEXT_S, seconds=8, name="b")
    simulator.finish()
    assert simulator.underruns(0.1) == 0
    assert simulator.capacity == pytest.approx(fresh / 2, rel=0.2)


def test_an_engine_that_was_never_measured_measures_while_it_idles(bundle: Bundle) -> None:
    engine = load_engine(bundle, EngineConfig(slots=4, workers=False))
    for _ in range(40):
        engine.wait(0.0)
    assert engine.profile.steps.measured
    engine.close()
