"""Neither end of the pipe blocks in a send, and neither keeps an unbounded amount that the other does not read."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from engines.messages import Cancel, Chunk, Command, EngineStats, Event
from server.engine import link, worker
from server.engine.pipe import Told, frame
from server.state import State
from tests.edge.toy import AsgiSocket, ToyEngine, serving, toy_spec, word_pcm

CHUNK = b"x" * 65_536
WORD = "a" * 60_000


class Stepping:
    """Gives a chunk a step, and counts its steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.left = 0, steps
        self.commands = threading.Semaphore(0)
        self.stepped = threading.Semaphore(0)
        self.has_work, self.spec = True, toy_spec()

    def measure(self) -> None: ...

    def close(self) -> None: ...

    def submit(self, command: Command) -> None:
        self.commands.release()

    def attend(self) -> list[Event]:
        return []

    def advance(self) -> list[Event]:
        if self.steps >= self.left:
            self.has_work = False
            return []
        self.steps += 1
        self.stepped.release()
        return [Chunk(request_id=str(self.steps), pcm=CHUNK, first_sample=0, words=())]

    def stats(self) -> EngineStats:
        return EngineStats(
            running=1, waiting=0, slots=1, lm_steps=0, lm_busy_s=0.0,
            vocoder_busy_s=0.0, capacity=1, streams_left=0, predicted_ttfa_s=0.0, counters={}, tallies={},
        )  # fmt: skip

    def wait(self, timeout_s: float, pipe: Any) -> None:
        pipe.wait(timeout_s)


def _chunks(end: socket.socket, number: int) -> list[str]:
    """Names of so many chunks, in the order in which they come."""
    file, names, decoder = end.makefile("rb"), list[str](), msgspec.msgpack.Decoder(Told)
    while len(names) < number:
        message = decoder.decode(file.read(int.from_bytes(file.read(4))))
        if isinstance(message, list):
            names += [one.request_id for one in message if isinstance(one, Chunk)]
    return names


def test_steps_go_on_while_the_server_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_MAX_UNSENT_BYTES", 40 * len(CHUNK))
    ours, theirs = socket.socketpair()
    engine = Stepping(steps=200)
    running = threading.Thread(target=worker.run_engine, args=(theirs, lambda: engine), daemon=True)
    running.start()
    for _ in range(40):  # ten times what the socket holds
        assert engine.stepped.acquire(timeout=60)
    # At the bound it holds, and still takes commands.
    steps = list[int]()
    while len(steps) < 4 or len(set(steps[-4:])) > 1:
        ours.sendall(frame([Cancel(request_id="x")]))
        assert engine.commands.acquire(timeout=60)
        steps.append(engine.steps)
    assert steps[-1] < 60
    # What was kept comes whole and in order, and the rest is made.
    assert _chunks(ours, 200) == [str(n + 1) for n in range(200)]
    ours.close()
    running.join(60)
    assert not running.is_alive()


def test_text_waits_in_its_sender_while_the_engine_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_MAX_UNREAD_BYTES", 65_536)
    toy = ToyEngine()

    async def scenario() -> None:
        async with (
            serving(toy, max_message_bytes=200_000, max_characters=10**7) as app,
            AsgiSocket(app, "parlando.v1") as socket,
        ):
            state: State = app.state.parlando
            toy.reads.clear()
            for _ in range(40):
                socket.say("append", text=f"{WORD} ")
            socket.say("end")
            await until(lambda: state.engine.is_full)
            assert (await refused(app)) == (503, "overloaded", "1")
            for _ in range(1_000):  # more turns of the loop than it takes to read all
                await asyncio.sleep(0)
            assert socket.unread > 20, "the rest is left to the client's own buffers"
            toy.reads.set()
            pcm, _ = await socket.hear("done")
            assert pcm == 40 * word_pcm(WORD)

    asyncio.run(scenario())


async def refused(app: FastAPI) -> tuple[int, str, str | None]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
        answer = await client.post("/v1/audio/speech", json={"input": "Hello."})
    return answer.status_code, answer.json()["error"]["code"], answer.headers.get("retry-after")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)
