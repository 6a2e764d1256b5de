"""Toy servers in a thread, so that the load generator's process meets a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from loadtests.server_process import Server
from tests.load.toy_server import Toy, serving


@pytest.fixture
def serve_toy() -> Iterator[Callable[[Toy], Server]]:
    """Call it with a toy; the server ends with the test. It has no process of its own, so no CPU and no memory."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    ends: list[asyncio.Event] = []

    async def hold(toy: Toy, told: asyncio.Future[int], end: asyncio.Event) -> None:
        async with serving(toy) as server:
            told.set_result(next(iter(server.sockets)).getsockname()[1])
            await end.wait()

    holders: list[asyncio.Task[None]] = []

    async def begin(toy: Toy) -> int:
        told: asyncio.Future[int] = loop.create_future()
        ends.append(asyncio.Event())
        holders.append(loop.create_task(hold(toy, told, ends[-1])))
        return await told

    async def finish() -> None:
        for end in ends:
            end.set()
        await asyncio.gather(*holders)

    def start(toy: Toy) -> Server:
        port = asyncio.run_coroutine_threadsafe(begin(toy), loop).result(10)
        return Server(url=f"http://127.0.0.1:{port}", pid=None)

    try:
        yield start
        asyncio.run_coroutine_threadsafe(finish(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def silent() -> Console:
    return Console(quiet=True)
