"""The load tests against a toy whose faults are known: each must be found, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from loadtests import scenarios, summary, texts
from loadtests.arrivals import Planned
from loadtests.client_ws import Listener
from loadtests.generator import Plan
from loadtests.level import LevelResult
from loadtests.recording import End
from loadtests.report import Report
from loadtests.scenarios import Ladder, Overload, Round
from loadtests.server_process import Server
from loadtests.session import Session, Unusable
from loadtests.summary import Verdict
from loadtests.texts import STOCK, Feeding
from tests.load.toy_server import CHUNK_SAMPLES, RATE_HZ, SECONDS_A_LETTER, SILENCE_S, Toy

Serve = Callable[[Toy], Server]
SHORT = [one for one in STOCK if len(one.text) < 30][:3]


@pytest.fixture
def session(tmp_path: Path, silent: Console, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Knows the texts' lengths without having asked. That a busy machine makes levels void is tested elsewhere."""
    monkeypatch.setattr(summary, "MAX_LAG_P99_MS", math.inf)
    found = Session(
        server=Server(url="", pid=None),
        console=silent,
        raw_path=tmp_path / "raw.jsonl.gz",
        seed=1,
        warm_up_s=0.2,
        measure_s=0.8,
    )
    found.audio_s = {one.text: SECONDS_A_LETTER * len(one.text) + SILENCE_S for one in STOCK}
    found.e2e_s = dict.fromkeys(found.audio_s, 0.1)
    found.same_bytes = False
    return found


def planned(count: int, gap_s: float, feeding: Feeding = Feeding.WHOLE, **more: float) -> list[Planned]:
    return [
        Planned(index=index, at_s=index * gap_s, text=SHORT[index % len(SHORT)], feeding=feeding, **more)
        for index in range(count)
    ]


def run(session: Session, plan: list[Planned], may_refuse: bool = False) -> LevelResult:
    return session.run(
        plan, "try", "steady", level=1, seed=1, seconds=plan[-1].at_s + 0.1, warm_up_s=0.0, may_refuse=may_refuse
    )


def test_a_good_server_is_measured_as_it_is(session: Session, serve_toy: Serve) -> None:
    session.server = serve_toy(Toy())
    level = run(session, planned(6, 0.05, Feeding.WORDS_10_MS))
    assert level.counts.complete == 6
    assert level.underruns[0].count == 0
    assert level.audio_s == pytest.approx(sum(session.audio_s[one.text] for one in SHORT) * 2, abs=0.1)
    assert session.last is not None
    for stream, recording in zip(session.last.streams, session.last.recordings, strict=True):
        assert stream.leading_silence_s == pytest.approx(SILENCE_S)
        assert stream.since_origin_s("last_text_s") == pytest.approx(
            0.01 * (len(SHORT[stream.index % 3].words) - 1), abs=0.05
        )
        assert recording.chunk_bytes[0] == 2 * CHUNK_SAMPLES
    with gzip.open(session.raw_path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 6
    assert {"audible_ttfa_latency_s", "chunks", "heard", "rtf"} <= set(rows[0])
    assert set(session.histograms["try"]) == {"ttfb", "audible_ttfa", "e2e"}


def test_a_pause_of_the_server_is_an_underrun_at_both_buffers(session: Session, serve_toy: Serve) -> None:
    session.server = serve_toy(Toy(ahead_s=0.1, pause_s=0.6))
    level = run(session, planned(2, 0.05))
    assert [one.count for one in level.underruns] == [2, 2]
    assert level.underruns[0].largest_stall_ms > level.underruns[1].largest_stall_ms > 100
    assert "underruns" in " ".join(level.against)


def test_every_text_is_learned_alone_and_other_bytes_are_found(session: Session, serve_toy: Serve) -> None:
    toy = Toy(wrong_from=len(STOCK))
    session.server, session.same_bytes = serve_toy(toy), True
    session.learn()
    assert session.audio_s[SHORT[0].text] == pytest.approx(
        SECONDS_A_LETTER * len(SHORT[0].text) + SILENCE_S, abs=2 / RATE_HZ
    )
    level = run(session, planned(2, 0.05))
    assert (level.counts.failed, level.counts.different_bytes) == (2, 2)


def test_a_server_that_refuses_a_single_stream_cannot_be_measured(session: Session, serve_toy: Serve) -> None:
    session.server = serve_toy(Toy(places=0))
    with pytest.raises(Unusable, match="all streams are in use"):
        session.learn()


@pytest.mark.parametrize("together", [True, False])
def test_a_close_in_one_packet_with_the_handshake_ends_the_stream(together: bool) -> None:
    """Some servers refuse as soon as they have accepted."""
    uri = parse_uri("ws://127.0.0.1:1/v1/audio/speech/ws")
    sent, server = bytearray(), ServerProtocol(subprotocols=[Subprotocol("parlando.v1")])

    class Wire(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            sent.extend(data)

        def can_write_eof(self) -> bool:
            return False

    async def meet() -> Listener:
        ended: list[Listener] = []
        listener = Listener(planned(1, 0.0)[0], uri, lambda: 1.0, lambda late_s: None, ended.append)
        listener.connection_made(Wire())
        server.receive_data(bytes(sent))
        (request,) = server.events_received()
        assert isinstance(request, Request)
        server.send_response(server.accept(request))
        first = b"".join(server.data_to_send())
        server.send_text(b'{"type": "error", "code": "overloaded", "message": "no room"}')
        server.send_close(1013)
        second = b"".join(server.data_to_send())
        for data in (first + second,) if together else (first, second):
            listener.data_received(data)
        assert ended == [listener]
        return listener

    assert asyncio.run(meet()).recording.end is End.REFUSED


def test_refusals_are_counted_and_timed(session: Session, serve_toy: Serve) -> None:
    session.server = serve_toy(Toy(places=1, ahead_s=0.1))
    level = run(session, planned(5, 0.02), may_refuse=True)
    assert (level.counts.complete, level.counts.refused) == (1, 4)
    assert level.refused_after_ms is not None
    assert level.refused_after_ms.count == 4
    found = Overload(rounds=(Round(at_knee=level, level=level),))
    assert found.ttfa_p99_over_knee == 1.0
    none = Overload(rounds=(Round(at_knee=replace(level, verdict=Verdict.FAILED), level=level),))
    assert none.ttfa_p99_over_knee is None
    assert any("passed in 0 of 1" in reason for reason in none.against)


def test_overload_is_judged_by_the_median_of_its_turns(session: Session, serve_toy: Serve) -> None:
    session.server = serve_toy(Toy(ahead_s=0.1))
    level = run(session, planned(3, 0.02))
    assert level.verdict is Verdict.PASSED
    whole = level.latencies_by_feeding_ms[Feeding.WHOLE]
    knee_ms = whole["audible_ttfa"].p99

    def round_(ratio: float, verdict: Verdict = Verdict.PASSED, refused_ms: float = 10.0) -> Round:
        ttfa = replace(whole["audible_ttfa"], p99=ratio * knee_ms, max=ratio * knee_ms + 1)
        latencies = {Feeding.WHOLE: {**whole, "audible_ttfa": ttfa}}
        refused = replace(ttfa, p50=1.0, p95=1.0, p99=refused_ms, max=refused_ms)
        loaded = replace(level, latencies_by_feeding_ms=latencies, refused_after_ms=refused)
        return Round(at_knee=replace(level, verdict=verdict), level=loaded)

    kept = Overload(rounds=(round_(1.2), round_(1.4), round_(9.0)))
    assert (kept.ttfa_p99_over_knee, kept.against) == (1.4, ())
    failed = Overload(rounds=(round_(1.2), round_(1.6), round_(1.7)))
    assert (failed.ttfa_p99_over_knee, len(failed.against)) == (1.6, 1)
    above = Overload(rounds=(round_(1.0, Verdict.FAILED), round_(1.6), round_(1.8)))
    assert above.ttfa_p99_over_knee == 1.7, "a knee that failed is nothing to compare with"
    slow = Overload(rounds=(round_(1.0), round_(1.0), round_(1.0, refused_ms=51.0)))
    assert ["51 ms" in reason for reason in slow.against] == [True], "the worst round's refusals count"
    dry = replace(round_(1.0).level, against=("3 underruns at 0 ms jitter buffer",))
    assert Overload(rounds=(Round(at_knee=level, level=dry), round_(1.0), round_(1.0))).against


def test_a_knee_that_fails_in_a_turn_moves_down_and_stays_down(
    session: Session, serve_toy: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.server = serve_toy(Toy(ahead_s=0.1))
    level = run(session, planned(3, 0.02))
    asked = list[tuple[float, int, bool]]()

    def fake(_: Session, wanted: float, *, name: str, seed: int, may_refuse: bool = False) -> LevelResult:
        asked.append((wanted, seed, may_refuse))
        verdict = Verdict.PASSED if may_refuse or wanted < 90 else Verdict.FAILED
        return replace(level, level=wanted, verdict=verdict, name=name)

    monkeypatch.setattr(Session, "level", fake)
    found = scenarios.overload(session, 100, 3.0, 2)
    first = [(100, 1, False), (92, 1, False), (85, 1, False), (255, 1, True)]
    assert asked == [*first, (85, 2, False), (255, 2, True)]
    assert [one.level for one in found.levels] == [100, 92, 85, 255, 85, 255]
    assert (found.knee, len(found.judged)) == (85, 2)
    asked.clear()
    lost = scenarios.overload(session, 200, 3.0, 1)
    assert [wanted for wanted, *_ in asked] == [200, 184, 169, 155, 465]
    assert lost.knee is None, "it gives up, and is still judged by underruns"
    assert lost.against


def test_cancels_are_timed_and_a_leaked_slot_is_found(
    session: Session, serve_toy: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "_IDLE_WITHIN_S", 0.5)
    session.audio_s = dict.fromkeys(session.audio_s, 0.3)
    clean, leaky = Toy(ahead_s=0.1), Toy(ahead_s=0.1, leaks=True)
    session.server = serve_toy(clean)
    found = scenarios.cancels(session, 12, 20.0)
    assert found.cancelled == len(clean.cancels) > 0
    assert found.leased_after == {"toy_streams_active": 0.0}
    assert found.level.counts.failed == 0
    assert found.cancel_to_answer_ms is not None
    assert not any("toy_streams_active" in reason for reason in found.against)
    session.server = serve_toy(leaky)
    found = scenarios.cancels(session, 12, 20.0)
    assert any("toy_streams_active is" in reason for reason in found.against)


def test_the_knee_is_found_and_written_down(
    session: Session, serve_toy: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "FEEDING_SHARES", {Feeding.WHOLE: 1.0})
    session.server = serve_toy(Toy(places=6))
    session.audio_s = dict.fromkeys(session.audio_s, 1.0)
    ladder = scenarios.find_knee(session, start=2, top=128, max_levels=3, confirm=0)
    assert ladder.levels[0].level == 2
    report = Report(session=session, command="try", machine={"cores": 2}, ladder=ladder)
    written = {path.name for path in report.write(tmp_path, "load")}
    assert {"load.json", "load.md", "load-ttfa.png", "load-underruns.png", "load-lead.png"} <= written
    figures = json.loads((tmp_path / "load.json").read_text())
    assert len(figures["ladder"]["levels"]) == len(ladder.levels)
    assert figures["hdr_histograms_us"][ladder.levels[0].name]["audible_ttfa"]
    assert "| N |" in (tmp_path / "load.md").read_text()


def test_a_ladder_without_a_pass_has_no_knee(session: Session, serve_toy: Serve) -> None:
    session.server = serve_toy(Toy(places=0))
    level = run(session, planned(1, 0.05))
    assert level.verdict is Verdict.FAILED
    ladder = Ladder(levels=(level,), knee=scenarios.knee({1: False}))
    assert ladder.against == ("no level passes",)


def test_streams_one_by_one_never_overlap(session: Session, serve_toy: Serve) -> None:
    from loadtests.level import run_plan

    session.server = serve_toy(Toy(places=1, ahead_s=1.0))
    done = run_plan(session.server, planned(3, 0.0), {}, one_by_one=True)
    assert [stream.end for stream in done.streams] == [End.DONE] * 3


def test_a_plan_travels_to_another_process() -> None:
    import pickle

    plan = Plan(url="ws://127.0.0.1:1", streams=tuple(planned(2, 0.1)))
    assert pickle.loads(pickle.dumps(plan)) == plan
