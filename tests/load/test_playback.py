"""The listener's clock: what an underrun is, what starvation of text is, and how far ahead a server is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.playback import leads_s, play

RATE_HZ = 1000  # a sample is a millisecond


def test_audio_in_time_plays_without_a_stall() -> None:
    heard = play([(1.0, 100), (1.1, 100), (1.15, 100)], RATE_HZ)
    assert (heard.started_s, heard.underruns, heard.stalled_s) == (1.0, 0, 0)
    assert heard.ended_s == pytest.approx(1.3)


def test_a_late_chunk_is_an_underrun_as_long_as_the_silence() -> None:
    heard = play([(1.0, 100), (1.25, 100), (1.36, 100)], RATE_HZ)
    assert heard.underruns == 2
    assert heard.stalled_s == pytest.approx(0.15 + 0.01)
    assert heard.largest_stall_s == pytest.approx(0.15)
    assert heard.ended_s == pytest.approx(1.46)


def test_a_jitter_buffer_hides_what_is_shorter_than_itself() -> None:
    chunks = [(1.0, 100), (1.15, 100), (1.35, 100)]
    assert play(chunks, RATE_HZ).underruns == 2
    buffered = play(chunks, RATE_HZ, jitter_s=0.1)
    assert (buffered.underruns, buffered.started_s) == (1, 1.1)
    assert buffered.stalled_s == pytest.approx(0.05)


def test_silence_while_the_server_waits_for_text_is_starvation() -> None:
    chunks = [(1.0, 100), (1.6, 100)]
    heard = play(chunks, RATE_HZ, waiting=[(1, 1.05)], text_sent_s=[0.9, 1.5])
    assert (heard.underruns, heard.starvations) == (0, 1)
    assert heard.starved_s == pytest.approx(0.5)
    assert heard.resume_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("waiting", "sent", "ended"),
    [
        ([], [0.9, 1.5], None),  # it never reported that it waits
        ([(1, 1.05)], [0.9, 1.06, 1.07, 1.08, 1.09], None),  # four words came at once, and still half a second passed
        ([(1, 1.05)], [0.9], 1.1),  # the text had ended
    ],
)
def test_waiting_for_text_excuses_no_stream_that_has_text(
    waiting: list[tuple[int, float]], sent: list[float], ended: float | None
) -> None:
    chunks = [(1.0, 100), (1.6, 100)]
    heard = play(chunks, RATE_HZ, waiting=waiting, text_sent_s=sent, all_text_sent_s=ended)
    assert (heard.underruns, heard.starvations) == (1, 0)


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 400)), min_size=1, max_size=20), st.floats(0, 0.3), st.data()
)
def test_a_listener_hears_everything_in_order_and_never_before_it_came(
    gaps: list[tuple[float, int]], jitter_s: float, data: st.DataObject
) -> None:
    at_s, chunks = 0.0, []
    for gap_s, count in gaps:
        at_s += gap_s
        chunks.append((at_s, count))
    heard = play(chunks, RATE_HZ, jitter_s=jitter_s)
    samples = sum(count for _, count in chunks)
    last = data.draw(st.integers(0, samples - 1))
    assert heard.heard_s(last) >= heard.started_s + last / RATE_HZ - 1e-9
    assert heard.ended_s == pytest.approx(heard.started_s + samples / RATE_HZ + heard.stalled_s)
    received = 0
    for at_s, count in chunks:
        assert heard.heard_s(received) >= at_s - 1e-9
        received += count


def test_the_lead_falls_with_time_and_never_below_nothing() -> None:
    points = leads_s([(1.0, 500), (1.2, 100), (2.0, 100)], RATE_HZ)
    wanted = [(0.0, 0.0), (0.0, 0.5), (0.2, 0.3), (0.2, 0.4), (1.0, 0.0), (1.0, 0.1)]
    for point, (since_s, lead_s) in zip(points, wanted, strict=True):
        assert point == (pytest.approx(since_s), pytest.approx(lead_s))
