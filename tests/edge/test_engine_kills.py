"""An engine is killed at random moments while ten streams speak on two: every listener gets the uninterrupted bytes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.edge.conftest import RunningServer

STREAMS = 10
MOMENTS = int(os.environ.get("KILL_MOMENTS", "3"))
TEXT = (
    "Every listener hears this to its end. An engine is killed somewhere in the middle of it, and another one goes on "
    "from the very sample where the first one stopped, so that no word is lost and none is spoken twice. "
) * 2


def engine_pids(server: RunningServer) -> list[int]:
    """Children of any of its threads."""
    listed = [path.read_text().split() for path in Path(f"/proc/{server.process.pid}/task").glob("*/children")]
    children = [int(pid) for pids in listed for pid in pids]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def speak(server: RunningServer, seed: int, begun: asyncio.Queue[None] | None = None) -> bytes:
    pcm = b""
    async with connect(server.ws_url, subprotocols=[Subprotocol("parlando.v1")], compression=None) as socket:
        for message in ({"type": "start", "seed": seed}, {"type": "append", "text": TEXT}, {"type": "end"}):
            await socket.send(json.dumps(message))
        async for data in socket:
            if isinstance(data, bytes):
                if not pcm and begun is not None:
                    begun.put_nowait(None)
                pcm += data
                continue
            event: dict[str, Any] = json.loads(data)
            assert event["type"] != "error", event
            if event["type"] == "done":
                break
    return pcm


async def all_engines(server: RunningServer) -> None:
    async with asyncio.timeout(120), httpx.AsyncClient() as client:
        while True:
            figures = (await client.get(f"{server.url}/metrics")).text
            if all(f'tts_slots{{engine="{engine}"}}' in figures for engine in (0, 1)):
                return
            await asyncio.sleep(0.1)


async def kills(server: RunningServer, draw: random.Random) -> int:
    """How many streams changed their engine in all."""
    expected = [await speak(server, seed) for seed in range(STREAMS)]
    for _ in range(MOMENTS):
        await all_engines(server)
        begun = asyncio.Queue[None]()
        streams = [asyncio.create_task(speak(server, seed, begun)) for seed in range(STREAMS)]
        await begun.get()
        await asyncio.sleep(draw.uniform(0, 0.5))
        os.kill(draw.choice(engine_pids(server)), signal.SIGKILL)
        assert await asyncio.gather(*streams) == expected
    return sum('"event": "stream_moved"' in line for line in server.lines)


def test_a_killed_engine_costs_no_listener_a_sample() -> None:
    with RunningServer(engines="2", engine_silence_s="30") as server:
        moved = asyncio.run(kills(server, random.Random(22)))
        print(f"{MOMENTS} kills, {moved} streams moved, of {STREAMS} each time")
        assert moved > 0
        assert server.stop() == 0
