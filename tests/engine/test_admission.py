"""Who may come in, and the costs it is predicted from: first audio, what the machine sustains, lateness, thin leads."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from engines.admission import Admission, Load, Pace
from engines.config import EngineConfig
from engines.cost_model import CostModel, CostShape

SHAPE = CostShape(base_s=0.3e-3, row_s=0.06e-3, unit_s=0.5e-6)


def test_the_cost_model_learns_a_slower_machine_and_shrugs_off_an_interruption() -> None:
    model = CostModel(SHAPE)
    for _ in range(200):
        for rows in (1, 4, 16):
            model.observe(rows, 100, 3 * SHAPE.cost_s(rows, 100))
    assert model.predict_s(16, 100) == pytest.approx(3 * SHAPE.cost_s(16, 100), rel=0.02)
    assert model.predict_s(40, 100) == pytest.approx(3 * SHAPE.cost_s(40, 100), rel=0.02)
    before = model.predict_s(16, 100)
    model.observe(16, 100, 10.0)
    assert model.predict_s(16, 100) < 1.2 * before


def test_rows_within_a_slice() -> None:
    model = CostModel(SHAPE)
    rows = model.rows_within(3e-3, 100, 64)
    assert model.predict_s(rows, 100) <= 3e-3 < model.predict_s(rows + 1, 100)
    assert model.rows_within(1e-9, 100, 64) == 1
    assert model.rows_within(1.0, 100, 64) == 64


def test_capacity_falls_with_cost_and_with_lateness_and_comes_back() -> None:
    config = EngineConfig()
    fast, slow = (CostModel(SHAPE) for _ in range(2))
    for rows in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(100):
            slow.observe(rows, 100, 8 * SHAPE.cost_s(rows, 100))
    load = Load(running=10, first_pending=0, mean_context=100)
    vocoder = CostModel(CostShape(base_s=0.3e-3, row_s=0.06e-3, unit_s=0.1e-3))
    quick = Admission(config, 0.04, fast, vocoder)
    assert Admission(config, 0.04, slow, vocoder).capacity(load) < quick.capacity(load)
    assert quick.refusal(load) is None
    before = quick.capacity(load)
    quick.saw_time(0.0)
    quick.saw_late(replace(load, running=2))
    assert quick.capacity(load) == before, "two streams are late by a hiccup, not by their load"
    quick.saw_late(replace(load, running=before - 10))
    assert quick.capacity(load) == int(0.9 * (before - 10))
    quick.saw_time(1.0)
    assert int(0.9 * (before - 10)) < quick.capacity(load) < before
    quick.saw_time(10.0)
    assert quick.capacity(load) == before


def test_the_pace_forgets_and_judges_nothing_by_a_few_rounds() -> None:
    pace = Pace()
    assert math.isinf(pace.codes_per_s)
    pace.saw(5, 0.001)
    assert math.isinf(pace.codes_per_s), "a millisecond tells nothing"
    for _ in range(5000):
        pace.saw(12, 0.004)
    assert pace.codes_per_s == pytest.approx(3000)
    for _ in range(2000):
        pace.saw(6, 0.004)
    assert pace.codes_per_s == pytest.approx(1500, rel=0.01)


def _at_a_pace_of(streams: int, config: EngineConfig) -> Admission:
    """One whose loop makes the codes of so many streams in a second of its own time, on a machine of cheap calls."""
    admission = Admission(config, 0.04, CostModel(SHAPE), CostModel(SHAPE))
    for _ in range(500):
        admission.pace.saw(streams, 0.04)  # 25 codes a second each
    return admission


def test_who_comes_is_judged_by_the_loops_pace_too() -> None:
    """Calls of the LM are a part of what the loop does: by them alone it would let in more than it keeps up with."""
    config = EngineConfig()
    load = Load(running=60, first_pending=0, mean_context=100)
    assert Admission(config, 0.04, CostModel(SHAPE), CostModel(SHAPE)).refusal(load) is None
    admission = _at_a_pace_of(80, config)
    assert admission.capacity(load) == pytest.approx(80 * config.pace_headroom, abs=1)
    assert "60 streams are running, this machine sustains" in (admission.refusal(load) or "")
    assert admission.refusal(replace(load, running=50)) is None
    assert admission.refusal(replace(load, running=0)) is None, "a slow machine still serves one"


def test_few_are_in_the_works_at_once_while_somebody_has_to_be_refused_anyway() -> None:
    """Many at once would each be made slowly; those who wait for text or have plenty in hand do not count."""
    admission = _at_a_pace_of(160, EngineConfig(least_speed=8.0))
    crowd = Load(running=70, first_pending=0, mean_context=100, backlog=70)
    for tenth in range(100):
        admission.saw_time(tenth / 10)
        assert admission.refusal(crowd) is None, "the machine can keep them all at real time"
    for tenth in range(100, 300):
        admission.saw_time(tenth / 10)
        assert admission.refusal(replace(crowd, running=120, backlog=120)) is not None
    assert admission.refusal(replace(crowd, backlog=21)) is not None
    usual = replace(crowd, backlog=18)
    assert admission.capacity(usual) == 72, "160 / 8 in the works"
    assert admission.refusal(usual) is None
    for tenth in range(300, 500):
        admission.saw_time(tenth / 10)
    assert admission.refusal(crowd) is None, "all are let in again"


def test_few_streams_in_the_works_say_nothing_of_the_machine() -> None:
    slow = _at_a_pace_of(16, EngineConfig(least_speed=8.0))
    for tenth in range(200):
        slow.saw_time(tenth / 10)
        assert slow.refusal(Load(running=12, first_pending=0, mean_context=100, backlog=12)) is not None
    assert slow.refusal(Load(running=7, first_pending=0, mean_context=100, backlog=7)) is None


def test_a_crowd_of_newcomers_is_refused_by_the_first_audio_it_would_wait_for() -> None:
    config = EngineConfig(max_ttfa_s=0.05)
    vocoder = CostModel(CostShape(base_s=1e-3, row_s=1e-3, unit_s=1e-3))
    admission = Admission(config, 0.04, CostModel(SHAPE), vocoder)
    few, many = (Load(running=0, first_pending=count, mean_context=0) for count in (2, 40))
    assert admission.predicted_ttfa_s(few) < admission.predicted_ttfa_s(many)
    assert admission.refusal(few) is None
    assert "first audio would take" in (admission.refusal(many) or "")


def test_nobody_new_is_admitted_while_those_who_speak_gain_no_lead() -> None:
    vocoder = CostModel(CostShape(base_s=0.3e-3, row_s=0.06e-3, unit_s=0.1e-3))
    admission = Admission(EngineConfig(), 0.04, CostModel(SHAPE), vocoder)
    well = Load(running=80, first_pending=0, mean_context=100, thin=10)
    assert admission.capacity(well) > 80
    assert admission.refusal(well) is None
    badly = replace(well, thin=11)
    assert admission.capacity(badly) == 80
    assert "this machine sustains 80" in (admission.refusal(badly) or "")
    assert admission.refusal(replace(well, running=16, thin=8)) is None, "so few say nothing of the machine"
