"""Arrivals, texts and the search for the knee: all drawn or decided before anything is sent."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.arrivals import Arrivals, draw_cancels, draw_level, draw_solo, rate_hz, read_trace
from loadtests.client_ws import script
from loadtests.knee import knee, next_level
from loadtests.texts import KIND_SHARES, STOCK, Feeding, Kind, mean_audio_s

AUDIO_S = {one.text: 0.06 * len(one.text) for one in STOCK}
E2E_S = {text: 0.1 * seconds for text, seconds in AUDIO_S.items()}


def test_a_level_offers_the_load_that_its_name_says() -> None:
    planned = draw_level(Arrivals.POISSON, 40, 30, AUDIO_S, seed=1)
    assert len(planned) == round(30 * 40 / mean_audio_s(AUDIO_S))
    assert rate_hz(40, AUDIO_S) == pytest.approx(40 / mean_audio_s(AUDIO_S))
    assert sum(AUDIO_S[one.text.text] for one in planned) / 30 == pytest.approx(40, rel=0.1)


def test_arrivals_come_in_order_from_a_seed() -> None:
    one, same, other = (draw_level(Arrivals.POISSON, 20, 30, AUDIO_S, seed) for seed in (1, 1, 2))
    assert one == same != other
    assert all(before.at_s <= after.at_s for before, after in pairwise(one))
    assert [planned.index for planned in one] == list(range(len(one)))


def test_poisson_arrivals_are_uneven_and_steady_ones_are_not() -> None:
    def gaps(arrivals: Arrivals) -> list[float]:
        planned = draw_level(arrivals, 100, 60, AUDIO_S, seed=3)
        return [after.at_s - before.at_s for before, after in pairwise(planned)]

    uneven, steady = gaps(Arrivals.POISSON), gaps(Arrivals.STEADY)
    mean = sum(uneven) / len(uneven)
    spread = (sum((gap - mean) ** 2 for gap in uneven) / len(uneven)) ** 0.5
    assert spread == pytest.approx(mean, rel=0.2)  # of an exponential distribution
    assert max(steady) - min(steady) < 1e-9


def test_the_mix_has_its_shares_and_long_texts_are_long() -> None:
    planned = draw_level(Arrivals.POISSON, 100, 60, AUDIO_S, seed=1)
    kinds = Counter(one.text.kind for one in planned)
    for kind, share in KIND_SHARES.items():
        assert kinds[kind] == pytest.approx(share * len(planned), abs=1.5)
    assert {one.feeding for one in planned} == set(Feeding) - {Feeding.HTTP}  # which only --openings asks for
    assert not any(one.text.kind is Kind.LONG and one.feeding is Feeding.WORDS_400_MS for one in planned)
    assert min(AUDIO_S[one.text] for one in STOCK if one.kind is Kind.LONG) > 12


def test_one_stream_waits_until_the_last_has_long_ended() -> None:
    planned = draw_solo(30, E2E_S, seed=1)
    assert len(planned) > 5
    for before, after in pairwise(planned):
        assert after.at_s >= before.at_s + E2E_S[before.text.text] + before.text.feeding_s(before.feeding)


def test_cancels_come_at_moments_all_over_the_stream() -> None:
    planned = draw_cancels(2000, 20, E2E_S, AUDIO_S, seed=1)
    shares = [
        one.cancel_after_s / (E2E_S[one.text.text] + one.text.feeding_s(one.feeding))
        for one in planned
        if one.cancel_after_s is not None and one.index % 4 != 3
    ]
    assert len(shares) == 1500
    assert min(shares) < 0.05
    assert max(shares) > 0.95
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.05)


def test_words_are_sent_by_their_own_clock() -> None:
    planned = next(one for one in draw_level(Arrivals.POISSON, 50, 30, AUDIO_S, 1) if one.feeding == "words-10ms")
    steps = script(planned)
    assert [step.at_s - planned.at_s for step in steps] == pytest.approx([0.01 * index for index in range(len(steps))])
    orders = [json.loads(message) for step in steps for message in step.messages]
    assert "".join(order.get("text", "") for order in orders) == planned.text.text
    assert [order["type"] for order in orders] == ["start", *["append"] * len(steps), "end"]
    assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True]


def test_a_trace_is_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"at_s": 2, "kind": "short", "feeding": "whole"}\n\n{"at_s": 0.5}\n')
    planned = read_trace(path, seed=1)
    assert [one.at_s for one in planned] == [0.5, 2]
    assert (planned[1].text.kind, planned[1].feeding) == (Kind.SHORT, Feeding.WHOLE)
    path.write_text('{"at_s": 2}\n{"kind": "huge", "at_s": 1}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_trace(path, seed=1)


@given(true=st.integers(0, 300), start=st.integers(1, 64))
def test_bisection_finds_the_knee_of_a_server_that_has_one(true: int, start: int) -> None:
    tested: dict[int, bool] = {}
    while (level := next_level(tested, start=start, top=256)) is not None:
        assert level not in tested
        tested[level] = level <= true
        assert len(tested) < 20
    found = knee(tested)
    if found.passes is None:
        assert true < 1
    elif found.fails is None:
        assert found.passes == 256 <= true
    else:
        assert found.passes <= true < found.fails
        assert found.fails - found.passes <= max(1, 0.08 * found.passes)


def test_a_pass_above_a_failure_does_not_move_the_knee() -> None:
    assert knee({16: True, 32: False, 48: True}).passes == 16
