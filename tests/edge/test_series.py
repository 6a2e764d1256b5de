"""Series that operators count on: there from the start, and of both processes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from engines.counters import Counters
from server.errors import KINDS
from server.state import State
from tests.edge.conftest import RunningServer
from tests.edge.toy import serving


def test_every_series_is_there_before_its_first_event() -> None:
    async def fresh() -> tuple[State, str]:
        async with serving() as app:
            state: State = app.state.parlando
            return state, state.metrics.exposition().decode()

    state, figures = asyncio.run(fresh())
    value = state.metrics.registry.get_sample_value
    for protocol in ("parlando.v1", "nari.speech.v1", "openai", "elevenlabs", "elevenlabs-ws", "elevenlabs-multi"):
        for outcome in ("ok", "cancelled", "shed", "timeout", "error"):
            assert value("tts_requests_total", {"protocol": protocol, "outcome": outcome}) == 0
        assert value("tts_time_to_first_audio_seconds_count", {"protocol": protocol}) == 0
    assert {code for code in KINDS if value("tts_refusals_total", {"code": code}) is None} == set()
    for close in ("1000", "1008", "1011", "1012", "1013"):
        assert value("tts_ws_closed_total", {"code": close}) == 0
    assert "tts_draining 0.0" in figures
    assert Counters().named()["guard_segment_too_long"] == 0


def test_draining_is_told() -> None:
    async def drained() -> str:
        async with serving() as app:
            state: State = app.state.parlando
            await state.drain()
            return state.metrics.exposition().decode()

    assert "tts_draining 1.0" in asyncio.run(drained())


@pytest.mark.skipif(sys.platform != "linux", reason="process metrics are read from /proc")
def test_both_processes_are_measured(server: RunningServer, client: httpx.Client) -> None:
    figures = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    for prefix in ("process", "tts_engine_process"):
        for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"):
            assert float(figures[f"{prefix}_{name}"]) > 0
    assert figures["process_start_time_seconds"] != figures["tts_engine_process_start_time_seconds"]
    resident = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert float(figures["process_resident_memory_bytes"]) == pytest.approx(resident, rel=0.2)
