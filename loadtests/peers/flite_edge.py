"""CMU Flite behind our WebSocket protocol: python -m loadtests.peers.flite_edge PROGRAM --port N --processes K

PROGRAM is the compiled `flite_lines.c`. A sentence is spoken as soon as it is complete; sentences of all listeners wait
in one queue for the next free Flite process. Blocks go out as Flite makes them. Words, seeds, speed and other sample
rates than 16 kHz are not offered, so clients ask for 16 kHz.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import struct
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

RATE_HZ = 16_000
_SENTENCE = re.compile(r"\s*(\S.*?[.!?])\s", re.DOTALL)


@dataclass
class Job:
    """A sentence on its way; blocks come out until None."""

    text: str
    blocks: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)


def cut_sentences(text: str, ended: bool) -> tuple[list[str], str]:
    """Complete sentences and what is left. White space must follow a mark, unless the text has ended."""
    sentences, at = [], 0
    while found := _SENTENCE.match(text, at):
        sentences.append(found.group(1))
        at = found.end()
    rest = text[at:]
    if ended and rest.strip():
        sentences.append(rest.strip())
        rest = ""
    return [" ".join(one.split()) for one in sentences], rest


async def speak_forever(program: str, jobs: asyncio.Queue[Job]) -> None:
    """One Flite process."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        while True:
            job = await jobs.get()
            process.stdin.write(job.text.encode() + b"\n")
            while count := struct.unpack("<i", await process.stdout.readexactly(4))[0]:
                job.blocks.put_nowait(await process.stdout.readexactly(2 * count))
            job.blocks.put_nowait(None)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Session:
    """One socket: utterances one after another, `cancel` between them only."""

    def __init__(self, socket: ServerConnection, jobs: asyncio.Queue[Job]) -> None:
        self._socket, self._jobs, self._number = socket, jobs, 0

    async def run(self) -> None:
        spoken: asyncio.Queue[Job | None] = asyncio.Queue()
        text, speaking = "", None
        async for message in self._socket:
            order: dict[str, Any] = json.loads(message)
            kind = order["type"]
            if speaking is None and kind in ("start", "append"):
                if kind == "start" and order.get("sample_rate") != RATE_HZ:
                    await self._tell("error", code="invalid_parameter", message="sample_rate must be 16000")
                    continue
                spoken = asyncio.Queue()
                speaking = asyncio.create_task(self._speak(spoken, time.monotonic()))
            if kind not in ("append", "flush", "end"):
                continue
            text += order.get("text", "")
            sentences, text = cut_sentences(text, ended=kind != "append")
            for sentence in sentences:
                job = Job(sentence)
                self._jobs.put_nowait(job)
                spoken.put_nowait(job)
            if kind == "end" and speaking is not None:
                spoken.put_nowait(None)
                await speaking
                speaking = None

    async def _tell(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind} | fields))

    async def _speak(self, spoken: asyncio.Queue[Job | None], started_s: float) -> None:
        self._number += 1
        name, samples, first_s = f"flite-{self._number}", 0, None
        audio = {"encoding": "pcm_s16le", "sample_rate": RATE_HZ, "channels": 1}
        await self._tell("started", request_id=name, seed=0, audio=audio)
        while job := await spoken.get():
            while block := await job.blocks.get():
                first_s = first_s or time.monotonic()
                samples += len(block) // 2
                await self._socket.send(block)
        ttfa_ms = 1000 * (first_s - started_s) if first_s else None
        await self._tell("done", request_id=name, seed=0, audio_ms=1000 * samples / RATE_HZ, ttfa_ms=ttfa_ms)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    jobs: asyncio.Queue[Job] = asyncio.Queue()

    async def listen(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await Session(socket, jobs).run()

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(HTTPStatus.OK, "ready\n") if request.path == "/ready" else None

    voices = [asyncio.create_task(speak_forever(options.program, jobs)) for _ in range(options.processes)]
    async with serve(
        listen,
        "127.0.0.1",
        options.port,
        subprotocols=["parlando.v1"],  # type: ignore[list-item]
        compression=None,
        process_request=answer,
    ):
        await asyncio.gather(*voices)


if __name__ == "__main__":
    asyncio.run(main())
