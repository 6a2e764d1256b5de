"""Two servers behind HAProxy, restarted one after the other while thirty streams speak and more arrive: all finish.

The more arrive before the balancer has noticed that the server leaves. One server still serves them, in its
DRAIN_DELAY_S; the other refuses them in the handshake, and the balancer tries them on the first.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from loadtests import leash
from tests.edge.conftest import RunningServer, free_port

STREAMS, ARRIVALS = 30, 10
CONFIG = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 300s
    option redispatch 1
    retry-on conn-failure empty-response 503
    retries 2
frontend edge
    bind 127.0.0.1:{port}
    default_backend speech
backend speech
    balance leastconn
    option httpchk GET /ready
    http-response set-header x-served-by %s
    default-server inter 1s fall 2 rise 1
    server a 127.0.0.1:{a} check
    server b 127.0.0.1:{b} check
"""


@contextmanager
def proxy(folder: Path, a: int, b: int) -> Iterator[int]:
    port = free_port()
    (folder / "haproxy.cfg").write_text(CONFIG.format(port=port, a=a, b=b))
    process = leash.start(["haproxy", "-f", str(folder / "haproxy.cfg"), "-db", "-q"])
    try:
        await_ready(port, 2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def await_ready(port: int, servers: int = 1, times: int = 10) -> None:
    """Until every server that the proxy still sends to is ready, and it sends to so many."""
    deadline_s, good, names = time.monotonic() + 20, 0, set[str]()
    while good < times or len(names) < servers:
        assert time.monotonic() < deadline_s, "the proxy goes on sending to a server that is not ready"
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/ready")
        except httpx.TransportError:
            good = 0
            continue
        good = good + 1 if answer.status_code == 200 else 0
        if answer.status_code == 200:
            names.add(answer.headers["x-served-by"])


async def speak(port: int, begun: asyncio.Queue[None], go_on: asyncio.Event) -> bool:
    """Half a text, the rest when told to. Returns whether all of it was spoken."""
    address = f"ws://127.0.0.1:{port}/v1/audio/speech/ws"
    async with connect(address, subprotocols=[Subprotocol("parlando.v1")], compression=None) as socket:
        await socket.send(json.dumps({"type": "append", "text": "This stream began before the restart, "}))
        async for message in socket:
            kind = "" if isinstance(message, bytes) else json.loads(message)["type"]
            if kind == "waiting_for_text":
                begun.put_nowait(None)
                await go_on.wait()
                await socket.send(json.dumps({"type": "append", "text": "and it ends behind it."}))
                await socket.send(json.dumps({"type": "end"}))
            elif kind in ("done", "error"):
                return kind == "done"
    return False


async def restart_one(port: int, server: RunningServer, delay_s: str) -> RunningServer:
    """Stops one of the two while streams speak on both, and starts it again."""
    begun, go_on = asyncio.Queue[None](), asyncio.Event()
    streams = [asyncio.create_task(speak(port, begun, go_on)) for _ in range(STREAMS)]
    for _ in streams:
        await asyncio.wait_for(begun.get(), 60)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(server.await_event, "draining")
    in_the_gap = [asyncio.create_task(speak(port, begun, go_on)) for _ in range(ARRIVALS)]
    for _ in in_the_gap:
        await asyncio.wait_for(begun.get(), 60)
    refused = await asyncio.to_thread(refusals, server)
    assert refused == 0 if float(delay_s) else refused > 0
    await asyncio.to_thread(await_ready, port)
    late = [asyncio.create_task(speak(port, begun, go_on)) for _ in range(ARRIVALS)]
    for _ in late:
        await asyncio.wait_for(begun.get(), 60)
    assert server.process.poll() is None, "it left before its streams had finished"
    go_on.set()
    spoken = await asyncio.gather(*streams, *in_the_gap, *late)
    assert spoken == [True] * (STREAMS + 2 * ARRIVALS)
    assert await asyncio.to_thread(server.process.wait, 30) == 0
    again = await asyncio.to_thread(lambda: RunningServer(port=server.port, drain_delay_s=delay_s))
    await asyncio.to_thread(await_ready, port, 2)
    return again


def refusals(server: RunningServer) -> float:
    """Of requests that came while it drained."""
    figures = httpx.get(f"{server.url}/metrics").text.splitlines()
    (line,) = (line for line in figures if line.startswith('tts_refusals_total{code="draining"}'))
    return float(line.rsplit(" ", 1)[1])


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs HAProxy (Debian: haproxy)")
def test_a_rolling_restart_loses_no_stream(tmp_path: Path) -> None:
    delays_s = ("4", "0")
    servers = [RunningServer(drain_delay_s=delay_s) for delay_s in delays_s]
    try:
        with proxy(tmp_path, *(server.port for server in servers)) as port:
            for place, delay_s in enumerate(delays_s):
                servers[place] = asyncio.run(restart_one(port, servers[place], delay_s))
    finally:
        for server in servers:
            server.__exit__()
