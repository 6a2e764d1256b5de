"""Stamps become results: latencies from the schedule, audibility, impossible orders, verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtests import summary
from loadtests.arrivals import Planned
from loadtests.playback import play
from loadtests.recording import RATE_HZ, End, Recording, first_audible_sample
from loadtests.results import DIFFERENT, ImpossibleTimes, StreamResult, judge
from loadtests.scenarios import slope_bytes_per_hour
from loadtests.summary import Generator, Verdict, percentiles, verdict
from loadtests.texts import Feeding, Kind, Text

PLANNED = Planned(index=0, at_s=10.0, text=Text(kind=Kind.SHORT, text="Hello there."), feeding=Feeding.WHOLE)
MS_SAMPLES = RATE_HZ // 1000


def tone(milliseconds: int, dbfs: float = -20.0) -> bytes:
    samples = np.arange(milliseconds * MS_SAMPLES)
    peak = 32768 * np.sqrt(2) * 10 ** (dbfs / 20)
    return np.round(peak * np.sin(2 * np.pi * 500 * samples / RATE_HZ)).astype("<i2").tobytes()


def recorded(*chunks: tuple[float, bytes], end: End = End.DONE, sent_s: float = 10.003) -> Recording:
    recording = Recording(index=0, opened_s=9.75, connected_s=9.76)
    recording.text_at_s.append(sent_s)
    recording.all_text_s = sent_s
    for at_s, pcm in chunks:
        recording.chunk_at_s.append(at_s)
        recording.chunk_bytes.append(len(pcm))
        recording.keep_head(pcm)
    recording.told_audio_ms = 1000 * recording.audio_bytes / 2 / RATE_HZ
    recording.finish((chunks[-1][0] if chunks else sent_s) + 0.01, end)
    return recording


def test_the_first_window_of_45_dbfs_is_audible_and_a_quieter_one_is_not() -> None:
    assert first_audible_sample(bytes(960) + tone(10, -44.9)) == 480
    assert first_audible_sample(bytes(960) + tone(10, -45.1)) is None


def test_latencies_count_from_the_schedule_and_silence_stands_apart() -> None:
    silence = bytes(2 * 50 * MS_SAMPLES)
    stream = judge(PLANNED, recorded((10.02, silence), (10.05, tone(25)), (10.06, tone(100))), {})
    found = stream.latencies_s
    assert found["ttfb"] == pytest.approx(0.02)  # though it was sent 3 ms late
    assert found["first_playable"] == pytest.approx(0.02)
    assert found["audible_ttfa"] == pytest.approx(0.02 + 0.05)  # the first chunk's arrival and what plays before it
    assert found["audible_arrived"] == pytest.approx(0.05)
    assert found["leading_silence"] == pytest.approx(0.05)
    assert found["e2e"] == pytest.approx(0.07)
    assert found["last_text_to_audible"] == pytest.approx(0.07 - 0.003)
    assert stream.rtf == pytest.approx((10.06 - 10.003) / 0.175)


def test_a_window_in_two_messages_is_there_with_the_second() -> None:
    stream = judge(PLANNED, recorded((10.02, tone(5)), (10.04, tone(50))), {})
    assert stream.latencies_s["audible_arrived"] == pytest.approx(0.04)
    assert stream.latencies_s["audible_ttfa"] == pytest.approx(0.02)
    assert stream.latencies_s["ttfb"] == pytest.approx(0.02)


def test_half_a_sample_is_not_playable() -> None:
    pcm = tone(50)
    stream = judge(PLANNED, recorded((10.02, pcm[:1]), (10.03, pcm[1:])), {})
    assert stream.latencies_s["ttfb"] == pytest.approx(0.02)
    assert stream.latencies_s["first_playable"] == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"told_audio_ms": 90.0}, "the server says 90.0 ms"),
        ({"all_text_s": None}, "before all text was sent"),
        ({"audible_sample": None}, "no audible window"),
        ({"checksum": 1}, DIFFERENT),
    ],
)
def test_what_says_it_is_done_and_is_not_has_failed(fault: dict[str, object], why: str) -> None:
    good = recorded((10.02, tone(100)))
    expected = {PLANNED.text.text: (100 * MS_SAMPLES, 0)}
    assert judge(PLANNED, good, expected).end is End.DONE
    stream = judge(PLANNED, replace(good, **fault), expected)  # type: ignore[arg-type]
    assert stream.end is End.FAILED
    assert why in stream.detail


def test_a_refusal_without_a_send_counts_from_the_connection() -> None:
    refused = Recording(index=0, opened_s=9.75)
    refused.finish(9.76, End.REFUSED)
    assert judge(PLANNED, refused, {}).refused_after_s == pytest.approx(0.01)
    late = recorded(end=End.REFUSED)
    assert judge(PLANNED, late, {}).refused_after_s == pytest.approx(0.013)


@pytest.mark.parametrize(
    "change",
    [
        {"first_byte_s": 10.0},  # before the send
        {"audible_s": 10.01},  # before the first byte
        {"audible_arrived_s": 10.01},
        {"ended_s": 10.5},  # before the last byte
        {"connected_s": None},  # sent without a connection
        {"sent_s": 9.9},  # before its time
        {"last_byte_s": None, "audible_arrived_s": None},  # done without audio
        {"ended_s": float("nan")},
        {"cancel_s": 10.001},  # before the send
    ],
)
def test_no_result_holds_an_impossible_order_of_times(change: dict[str, float | None]) -> None:
    stream = judge(PLANNED, recorded((10.02, tone(200)), (10.6, tone(100))), {})
    with pytest.raises(ImpossibleTimes):
        replace(stream, **change)  # type: ignore[arg-type]


def heard_with(underruns: int) -> StreamResult:
    chunks = [(10.02, tone(100))] + [(10.5 + index, tone(100)) for index in range(underruns)]
    assert play([(at_s, len(pcm) // 2) for at_s, pcm in chunks], RATE_HZ).underruns == underruns
    return judge(PLANNED, recorded(*chunks), {})


def generator(lag_ms: float) -> Generator:
    lag = percentiles([0.0] * 50 + [lag_ms] * 50)
    assert lag is not None
    return Generator(tick_lag_ms=lag, send_lag_ms=None, loop="uvloop", priority="nice 0", cores=0.1)


def judged(streams: list[StreamResult], lag_ms: float = 0.1, may_refuse: bool = False) -> tuple[Verdict, str]:
    counted, played = summary.counts(streams), summary.underruns(streams)
    outcome, against = verdict(counted, played, generator(lag_ms), may_refuse=may_refuse)
    return outcome, "; ".join(against)


def test_a_level_passes_only_if_all_complete_without_an_underrun() -> None:
    good, dry = heard_with(0), heard_with(2)
    refused = judge(PLANNED, recorded(end=End.REFUSED), {})
    assert judged([good, good]) == (Verdict.PASSED, "")
    assert judged([good, dry]) == (Verdict.FAILED, "2 underruns at 0 ms jitter buffer")
    assert judged([good, refused]) == (Verdict.FAILED, "1 of 2 refused")
    assert judged([good, refused], may_refuse=True)[0] is Verdict.PASSED
    assert judged([good, replace(good, end=End.FAILED)])[0] is Verdict.FAILED
    assert judged([])[0] is Verdict.FAILED


def test_a_late_generator_voids_a_level_whatever_it_saw() -> None:
    outcome, why = judged([heard_with(0)], lag_ms=2.1)
    assert outcome is Verdict.VOID
    assert "2.1 ms" in why
    assert judged([heard_with(0)], lag_ms=1.9)[0] is Verdict.PASSED


def test_percentiles_are_values_that_were_measured() -> None:
    found = percentiles([*range(1, 100), None, 1000])
    assert found is not None
    assert (found.count, found.p50, found.p95, found.p99, found.max) == (100, 51, 96, 1000, 1000)
    assert percentiles([None]) is None


def test_a_step_of_memory_is_no_slope_and_a_leak_is_one() -> None:
    step = tuple((float(second), 10_000_000 + (second > 600) * 4096) for second in range(1200))
    leak = tuple((float(second), 10_000_000 + 100 * second) for second in range(1200))
    assert slope_bytes_per_hour(step) == 0
    assert slope_bytes_per_hour(leak) == pytest.approx(360_000)
    assert slope_bytes_per_hour(leak[:50]) is None
