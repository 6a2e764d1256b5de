"""Which of our files one utterance crosses, from the socket to the first sample: python -m tests.edge.request_walk

Edge and engine share one process here, so that one profile sees both. Counted are files in which a function ran between
the first text and the first audio message, text included. A first utterance goes before it, and loads what is cached.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from server.app import create_app
from server.settings import EngineMode, Settings
from tests.edge.toy import AsgiSocket

ROOT = Path(__file__).resolve().parents[2]
_OURS = (f"{ROOT}/server/", f"{ROOT}/engines/")


def crossed() -> list[str]:
    files, recording = set[str](), False

    def called(frame: FrameType, event: str, argument: object) -> None:
        if recording and event == "call" and frame.f_code.co_filename.startswith(_OURS):
            files.add(frame.f_code.co_filename)

    async def speak(socket: AsgiSocket) -> None:
        socket.say("append", text="Words go in. ")
        socket.say("end")
        while not isinstance(await socket.recv(), bytes):
            pass

    async def scenario() -> None:
        nonlocal recording
        app = create_app(Settings(engine_mode=EngineMode.THREAD, shed=False, slots=4, allowed_hosts="here"))
        async with app.router.lifespan_context(app):
            await app.state.parlando.engine.wait_ready()
            async with AsgiSocket(app) as socket:
                await speak(socket)
                await socket.hear("done")
                recording = True
                await speak(socket)
                recording = False
                await socket.hear("done")

    _profiled(called, lambda: asyncio.run(scenario()))
    return sorted(str(Path(name).relative_to(ROOT)) for name in files)


def _profiled(called: Callable[[FrameType, str, object], None], work: Callable[[], None]) -> None:
    threading.setprofile(called)  # before the engine starts its threads
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


if __name__ == "__main__":
    walk = crossed()
    print(*walk, sep="\n")
    print(len(walk), "files")
