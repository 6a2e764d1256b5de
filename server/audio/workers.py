"""Where encoders run: two threads beside the event loop.

Bounded by construction: a stream waits for its job before it takes its next chunk, so there is at most one job for each
stream the engine has admitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="audio")


async def off_loop(job: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, job)
