"""A small true server of docs/wire.md: every text becomes silence and a tone, as long as the text is.

Its faults can be chosen, so that a test knows what the load tests must find: a pause in the middle, too few places,
another audio, a slot that is never given back. As a process it gives the generator real-time streams to be profiled
with: python -m tests.load.toy_server --port N
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

RATE_HZ = 24_000
CHUNK_SAMPLES = 1920  # 80 ms
SILENCE_S = 0.05
SECONDS_A_LETTER = 0.06


def speech(text: str) -> bytes:
    """s16le: 50 ms of silence, then a tone of 60 ms a letter."""
    samples = np.arange(int(SECONDS_A_LETTER * len(text) * RATE_HZ))
    tone = np.round(8000 * np.sin(2 * np.pi * 220 * samples / RATE_HZ)).astype("<i2")
    return bytes(2 * int(SILENCE_S * RATE_HZ)) + tone.tobytes()


@dataclass(slots=True)
class Toy:
    places: int = 1000
    ahead_s: float = 60.0  # how far it works ahead of the listener
    pause_s: float = 0.0  # before the fifth chunk of every utterance
    wrong_from: int | None = None  # utterances from this one on are a sample too long
    leaks: bool = False  # cancelled utterances keep their slot
    held: int = 0
    spoken: int = 0
    cancels: list[int] = field(default_factory=list)  # chunks sent before each


class _Utterance:
    """One stream of one socket."""

    def __init__(self, toy: Toy, socket: ServerConnection) -> None:
        self._toy, self._socket, self.text = toy, socket, ""
        self.chunks = 0

    async def speak(self) -> None:
        toy = self._toy
        pcm = speech(self.text)
        if toy.wrong_from is not None and toy.spoken >= toy.wrong_from:
            pcm += b"\1\0"
        toy.spoken += 1
        clock = asyncio.get_running_loop().time
        began_s = clock()
        for at in range(0, len(pcm), 2 * CHUNK_SAMPLES):
            ahead_s = at / 2 / RATE_HZ - (clock() - began_s)
            if ahead_s > toy.ahead_s:
                await asyncio.sleep(ahead_s - toy.ahead_s)
            if self.chunks == 4 and toy.pause_s:
                await asyncio.sleep(toy.pause_s)
            await self._socket.send(pcm[at : at + 2 * CHUNK_SAMPLES])
            self.chunks += 1
        await self.tell("done", audio_ms=1000 * len(pcm) / 2 / RATE_HZ)

    async def tell(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind} | fields))


async def _session(toy: Toy, socket: ServerConnection) -> None:
    utterance, speaking, leaked = _Utterance(toy, socket), None, False
    if toy.held >= toy.places:
        await utterance.tell("error", code="overloaded", message="all streams are in use", retry_after_s=1.0)
        return
    toy.held += 1
    try:
        async for message in socket:
            order = json.loads(message)
            if order["type"] == "append":
                utterance.text += order["text"]
            elif order["type"] == "end":
                speaking = asyncio.create_task(utterance.speak())
            elif order["type"] == "cancel":
                leaked = toy.leaks
                if speaking is not None:
                    speaking.cancel()
                toy.cancels.append(utterance.chunks)
                await utterance.tell("cancelled", audio_ms=1000 * utterance.chunks * CHUNK_SAMPLES / RATE_HZ)
    finally:
        if speaking is not None:
            speaking.cancel()
        toy.held -= not leaked


def _page(toy: Toy, request: Request) -> Response | None:
    pages = {"/ready": "ready", "/metrics": f"# TYPE toy_streams_active gauge\ntoy_streams_active {toy.held}\n"}
    if request.path not in pages:
        return None
    body = pages[request.path].encode()
    headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
    return Response(HTTPStatus.OK, "OK", headers, body)


@asynccontextmanager
async def serving(toy: Toy, port: int = 0) -> AsyncIterator[Server]:
    async def speak(socket: ServerConnection) -> None:
        await _session(toy, socket)

    def page(_: ServerConnection, request: Request) -> Response | None:
        return _page(toy, request)

    async with serve(
        speak, "127.0.0.1", port, process_request=page, compression=None, subprotocols=["parlando.v1"]
    ) as server:
        yield server


async def _forever(port: int, ahead_s: float) -> None:
    async with serving(Toy(ahead_s=ahead_s), port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--ahead-s", type=float, default=0.5)
    options = words.parse_args()
    asyncio.run(_forever(options.port, options.ahead_s))
