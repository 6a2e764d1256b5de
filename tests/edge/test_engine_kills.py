"""An engine is killed at random moments while ten streams speak on two.

Every listener gets the bytes of the uninterrupted run, and those of the other engine have audio to play all the time.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.edge.conftest import RunningServer

STREAMS = 10
MOMENTS = int(os.environ.get("KILL_MOMENTS", "10"))
JITTER_S = 0.1  # what a player waits for before it plays
_TICK_S, _MAX_TICK_S = 0.01, 0.25
TEXT = (
    "Every listener hears this to its end. An engine is killed somewhere in the middle of it, and another one goes on "
    "from the very sample where the first one stopped, so that no word is lost and none is spoken twice."
)


@dataclass(slots=True)
class Listener:
    """Plays what has come, by ticks: a machine that stands still as a whole plays nothing meanwhile."""

    pcm: bytearray = field(default_factory=bytearray)
    request_id: str = ""
    rate_hz: int = 0
    played_s: float = -JITTER_S
    least_lead_s: float = math.inf
    has_all: bool = False

    @property
    def lead_s(self) -> float:
        return len(self.pcm) / 2 / self.rate_hz - self.played_s

    def play(self, passed_s: float) -> None:
        if self.pcm and not self.has_all:
            self.played_s += passed_s
            self.least_lead_s = min(self.least_lead_s, self.lead_s)


@asynccontextmanager
async def playing(listeners: list[Listener]) -> AsyncIterator[None]:
    async def tick() -> None:
        clock = asyncio.get_running_loop().time
        before_s = clock()
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = clock()
            for listener in listeners:
                listener.play(min(now_s - before_s, _MAX_TICK_S))
            before_s = now_s

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()


def engine_pids(server: int) -> list[int]:
    """Children of any of its threads."""
    listed = [path.read_text().split() for path in Path(f"/proc/{server}/task").glob("*/children")]
    children = [int(pid) for pids in listed for pid in pids]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def listen(server: RunningServer, seed: int, listener: Listener, begun: asyncio.Event | None = None) -> None:
    async with connect(server.ws_url, subprotocols=[Subprotocol("parlando.v1")], compression=None) as socket:
        for message in ({"type": "start", "seed": seed}, {"type": "append", "text": TEXT}, {"type": "end"}):
            await socket.send(json.dumps(message))
        async for data in socket:
            if isinstance(data, bytes):
                listener.pcm += data
                if begun is not None:
                    begun.set()
                continue
            event: dict[str, Any] = json.loads(data)
            assert event["type"] != "error", event
            if event["type"] == "started":
                listener.request_id, listener.rate_hz = event["request_id"], event["audio"]["sample_rate"]
            if event["type"] == "done":
                listener.has_all = True
                return


async def all_engines(server: RunningServer, engines: int) -> None:
    async with asyncio.timeout(120), httpx.AsyncClient() as client:
        while True:
            figures = (await client.get(f"{server.url}/metrics")).text
            if all(f'tts_slots{{engine="{engine}"}}' in figures for engine in range(engines)):
                return
            await asyncio.sleep(0.1)


def ready_engines(server: RunningServer, engines: int) -> None:
    asyncio.run(all_engines(server, engines))


def moved_ids(server: RunningServer) -> set[str]:
    return {json.loads(line)["request_id"] for line in list(server.lines) if '"event": "stream_moved"' in line}


async def one_kill(server: RunningServer, draw: random.Random) -> tuple[list[bytes], list[Listener], int]:
    """What all heard, the listeners of the engine that lived, and how many changed theirs."""
    before, begun = moved_ids(server), asyncio.Event()
    listeners = [Listener() for _ in range(STREAMS)]
    async with playing(listeners), asyncio.TaskGroup() as group:
        for seed, listener in enumerate(listeners):
            group.create_task(listen(server, seed, listener, begun))
        await begun.wait()
        await asyncio.sleep(draw.uniform(0, 0.5))
        os.kill(draw.choice(engine_pids(server.process.pid)), signal.SIGKILL)
    moved = moved_ids(server) - before
    stayed = [listener for listener in listeners if listener.request_id not in moved]
    return [bytes(listener.pcm) for listener in listeners], stayed, len(moved)


async def kills(server: RunningServer, draw: random.Random) -> None:
    expected = []
    for seed in range(STREAMS):
        await listen(server, seed, alone := Listener())
        expected.append(bytes(alone.pcm))
    moved: list[int] = []
    leads_s: list[float] = []  # the least of each kill
    stayed_in_all = 0
    for _ in range(MOMENTS):
        await all_engines(server, 2)
        heard, stayed, changed = await one_kill(server, draw)
        assert heard == expected
        moved.append(changed)
        stayed_in_all += len(stayed)
        if stayed:
            leads_s.append(min(listener.least_lead_s for listener in stayed))
    assert sum(moved) > 0
    assert leads_s
    print(
        f"{MOMENTS} kills of {STREAMS} streams: {sum(moved)} streams moved, at most {max(moved)} at once; "
        f"{stayed_in_all} stayed, with a lead of at least {min(leads_s) * 1000:.0f} ms, in the median kill "
        f"{median(leads_s) * 1000:.0f} ms (buffer {JITTER_S * 1000:.0f} ms)"
    )
    # The median, since a busy machine makes a player wait now and then; what a kill did it would do each time.
    assert median(leads_s) > 0, "streams of the engine that lived run dry"


def test_a_killed_engine_costs_no_listener_a_sample() -> None:
    with RunningServer(engines="2") as server:
        asyncio.run(kills(server, random.Random(22)))
        assert server.stop() == 0
