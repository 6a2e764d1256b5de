"""The engine's process beside the server's."""

from __future__ import annotations

import asyncio
import os

from server.engine.link import EngineLink
from server.settings import Settings

_LOADED_S = 60.0


def test_the_engine_stands_behind_the_server() -> None:
    """What comes in and goes out is short, and waited for."""

    async def nice() -> int:
        link = await EngineLink.launch(Settings(engine_nice=3))
        try:
            await link.hello(_LOADED_S)
            pid = getattr(link._runner, "pid", None)
            assert pid not in (None, os.getpid())
            return os.getpriority(os.PRIO_PROCESS, pid)
        finally:
            await link.end()

    assert asyncio.run(nice()) == os.getpriority(os.PRIO_PROCESS, 0) + 3
