"""Which requests are admitted: predicted first audio, capacity from the device profile, and the guard."""

from __future__ import annotations

import pytest

from engines.config import EngineConfig
from engines.scheduling.admission import Admission, Load
from engines.scheduling.device_profile import Curve, DeviceProfile

FRAME_S = 0.04


def profile(step_s: tuple[float, float] = (0.3e-3, 0.1e-3), *, overlaps: bool = True, cores: int = 2) -> DeviceProfile:
    """Linear costs, those of a vocoder job half of a step's."""
    made = DeviceProfile(frame_s=FRAME_S, cores=cores, overlaps=overlaps, loop_row_s=0.0)
    for size in (1, 2, 8, 16, 64):
        made.steps.add(size, step_s[0] + step_s[1] * size)
        made.jobs.add(size, (step_s[0] + step_s[1] * size) / 2)
    return made


def admission(of: DeviceProfile, **settings: float) -> Admission:
    return Admission(EngineConfig(slots=512, **settings), of, (2, 4))  # type: ignore[arg-type]


def test_a_curve_is_straight_between_and_beyond_what_was_measured() -> None:
    curve = Curve()
    for size, seconds in ((8, 9.0), (8, 50.0), (8, 100.0), (16, 13.0)):
        curve.add(size, seconds)
    assert [curve(size) for size in (8, 12, 16, 32)] == [9.0, 11.0, 13.0, 21.0], "not by interrupted calls"
    curve.add(4, 50.0)
    assert curve(4) == 9.0, "a smaller call takes no longer: it was interrupted"


def test_rows_within_a_time() -> None:
    made = profile()
    rows = made.rows_within(3e-3)
    assert made.step_s(rows) <= 3e-3 < made.step_s(rows + 1)
    assert (made.rows_within(1e-9), made.rows_within(1.0)) == (1, 64)


def test_capacity_follows_the_busiest_worker_and_the_cores() -> None:
    alone = admission(profile(cores=4)).capacity
    together = admission(profile(overlaps=False)).capacity
    assert admission(profile(cores=1)).capacity == together
    slower = admission(profile((0.9e-3, 0.3e-3), cores=4)).capacity
    assert slower == pytest.approx(alone / 3, abs=1)
    own = profile(cores=4)
    own.loop_row_s = 0.1e-3
    assert admission(own).capacity < 0.65 * alone, "the loop's own time counts"


def test_a_batch_that_outlasts_its_frame_serves_no_one() -> None:
    """One stream waits for the whole step, however cheap each of its rows is."""
    for step_s, streams in ((0.15 * FRAME_S, 150), (0.8 * FRAME_S, 20), (1.5 * FRAME_S, 1)):
        made = DeviceProfile(frame_s=FRAME_S, cores=4, overlaps=True, loop_row_s=0.0, correction=2.0)
        for size in (1, 64):
            made.steps.add(size, (step_s + size * FRAME_S / 200) / 2)
            made.jobs.add(size, 1e-6 * size)
        found = admission(made).capacity
        assert found == pytest.approx(streams, rel=0.2)
        assert found == 1 or made.step_s(min(found, 64)) <= FRAME_S


def test_a_lone_streams_real_time_factor_is_told() -> None:
    """Of the slower worker where there are two, of both where there is one."""
    for overlaps, cores, rtf in ((True, 2, 3.5), (True, 1, 4.5), (False, 2, 4.5)):
        profile = DeviceProfile(frame_s=0.08, cores=cores, overlaps=overlaps)
        assert profile.lone_rtf == 0.0
        for size in (1, 2):
            profile.steps.add(size, 0.28 * size)
            profile.jobs.add(size, 0.08 * size)
        assert profile.lone_rtf == pytest.approx(rtf)


def test_an_unmeasured_engine_counts_slots() -> None:
    unmeasured = DeviceProfile(frame_s=FRAME_S, cores=1, overlaps=False)
    assert admission(unmeasured).capacity == 512


def test_the_correction_follows_slow_batches_and_shrugs_off_an_interruption() -> None:
    made = profile(overlaps=False)
    capacity = admission(made).capacity
    made.saw_batch(1e-3, 1.0)
    assert admission(made).capacity > 0.95 * capacity
    for _ in range(10_000):
        predicted_s = made.step_s(16)
        made.saw_batch(predicted_s, 2 * predicted_s / made.correction)
    assert made.correction == pytest.approx(2, rel=0.05)
    assert admission(made).capacity == pytest.approx(capacity / 2, rel=0.05)


def test_what_a_full_load_is_known_to_cost_is_not_counted_twice() -> None:
    """Two workers: capacity is the same before a full load was seen and after one that cost what was expected."""
    made = profile()
    fresh = admission(made).capacity
    for correction, share in ((0.9, 1.0), (1.5, 1.0), (2.2, 1.55 / 2.2)):
        made.correction = correction
        assert admission(made).capacity == pytest.approx(share * fresh, abs=1)


def test_a_lone_stream_is_never_refused() -> None:
    slow = admission(profile((1.0, 1.0)))
    assert slow.capacity == 1
    assert slow.refusal(Load(running=0, first_pending=0)) is None
    assert "this machine sustains 1" in (slow.refusal(Load(running=1, first_pending=0)) or "")


def test_many_waiting_for_first_audio_are_refused_by_the_time_it_would_take() -> None:
    judge = admission(profile((1e-3, 0.3e-3)), max_ttfa_s=0.02)
    few, many = (Load(running=1, first_pending=count) for count in (1, 40))
    assert judge.predicted_ttfa_s(few) < judge.predicted_ttfa_s(many)
    assert judge.refusal(few) is None
    assert "first audio would take" in (judge.refusal(many) or "")


def test_lateness_and_rejections_lower_what_is_generated_at_once_and_time_raises_it() -> None:
    judge, now = admission(profile()), 100.0
    judge.saw_time(now)
    free, capacity = Load(running=2, first_pending=0, busy=2), judge.capacity
    before = judge.streams_left(free)
    for _ in range(5):
        judge.saw_late(now)
    once = judge.streams_left(free)
    assert 0.35 * capacity < before + 2 < capacity, "each of as many as are generated at once gains lead"
    assert once + 2 == pytest.approx(0.9 * (before + 2), abs=1), "chunks late together are late once"
    full = Load(running=capacity, first_pending=0, busy=capacity)
    for _ in range(100):
        assert judge.refusal(full) is not None
    fewest = judge.streams_left(free)
    assert 0 < fewest < capacity / 7
    assert "being generated" in (judge.refusal(Load(running=60, first_pending=0, busy=60)) or "")
    assert judge.capacity == capacity, "what the machine sustains is another thing"
    judge.saw_time(now + 30)
    assert judge.streams_left(free) == before
