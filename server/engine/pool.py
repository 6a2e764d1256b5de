"""The engines behind one server, one or several: each stream runs on the one with the most room.

A start that an engine rejects is tried once on the next. When an engine dies, its streams go on from the sample they
stopped at, on another one or on the same once it is started again, if that one would make the same samples; otherwise
they hear the error at once. Streams of the other engines notice nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from engines.errors import ConfigError
from engines.families.base import ModelSpec
from engines.messages import Command, EngineStats, Submit
from server.engine.client import EngineClient
from server.engine.launch import Launched
from server.engine.link import Worker
from server.engine.moving_stream import MovingStream
from server.settings import EngineMode, Settings, num_engines

OnStats = Callable[[int, EngineStats | None, int], None]


class EnginePool:
    def __init__(
        self,
        settings: Settings,
        *,
        voice: str,
        bundle_digest: str = "",
        on_stats: OnStats,
        workers: Sequence[Worker] = (),
        launched: Sequence[Launched] = (),
    ) -> None:
        """`on_stats` hears which engine it is of; `workers` replace the engines' side of their pipes; `launched`
        are the first processes of all."""
        count = num_engines(settings)
        if workers and len(workers) != count:
            raise ConfigError(f"{len(workers)} workers for {count} engines")
        if settings.engine_mode is EngineMode.THREAD and count > 1 and not workers:
            raise ConfigError(f"engines is {count}; engine_mode must be process for more than one, not thread")
        self.bundle_digest, self.exact = bundle_digest, settings.draft_tolerance == 0
        self.clients = [
            EngineClient(
                settings,
                voice=voice,
                bundle_digest=bundle_digest,
                on_ready=self._tell_ready,
                on_stats=lambda stats, restarts, engine=engine: on_stats(engine, stats, restarts),  # type: ignore[misc]
                worker=workers[engine] if workers else None,
                launched=launched[engine] if launched else None,
            )
            for engine in range(count)
        ]
        self._wait_for_ready: set[asyncio.Event] = set()

    @property
    def ready(self) -> bool:
        return any(client.ready for client in self.clients)

    @property
    def spec(self) -> ModelSpec | None:
        """Of their model, once one of them has told it."""
        return next((client.spec for client in self.clients if client.spec is not None), None)

    @property
    def active(self) -> int:
        return sum(client.active for client in self.clients)

    @property
    def restarts(self) -> int:
        return sum(client.restarts for client in self.clients)

    @property
    def arithmetic(self) -> str:
        """Of the engines that have told theirs; they run on one machine, in one form."""
        return next((client.arithmetic for client in self.clients if client.arithmetic), "")

    @property
    def pids(self) -> list[Callable[[], int | None]]:
        """What tells each one's process."""
        return [lambda client=client: client.pid for client in self.clients]  # type: ignore[misc]

    @property
    def stats(self) -> EngineStats | None:
        """What it can all do together, and the first audio of the engine that comes next."""
        told = [client.stats for client in self.clients if client.ready and client.stats is not None]
        following = self.choose()
        if not told or following is None or following.stats is None:
            return None
        return replace(
            following.stats,
            capacity=sum(stats.capacity for stats in told),
            streams_left=sum(stats.streams_left for stats in told),
        )

    async def wait_ready(self) -> None:
        """Of all."""
        for client in self.clients:
            await client.wait_ready()

    @property
    def is_full(self) -> bool:
        """No engine reads its commands: new streams are rejected."""
        return all(client.is_full for client in self.clients)

    async def room(self) -> None:
        """Waits while all are full: await it before more text is read from a client. One that reads nothing, until it
        is replaced, holds up no stream of the others; what its own may still send is bounded by their limits."""
        if not self.is_full:
            return
        waits = [asyncio.ensure_future(client.room()) for client in self.clients]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def start(self) -> None:
        for client in self.clients:
            client.start()

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.clients))

    def send(self, command: Command) -> None:
        """To all."""
        for client in self.clients:
            client.send(command)

    def open(self, submit: Submit) -> MovingStream:
        return MovingStream(self, submit)

    def choose(self, beside: EngineClient | None = None) -> EngineClient | None:
        """The ready engine with the largest free share of its capacity, then the earliest first audio."""
        open_to_more = [client for client in self._ready if client is not beside and not client.is_full]
        return min(open_to_more, key=_load, default=None)

    def refusing(self) -> EngineClient:
        """The one that says why no engine can be chosen."""
        return next(iter(self._ready), self.clients[0])

    def expects(self, beside: EngineClient) -> bool:
        """An engine other than `beside` is being started."""
        return any(not client.ready for client in self.clients if client is not beside)

    @contextmanager
    def telling_ready(self, ready: asyncio.Event) -> Iterator[None]:
        """Sets `ready` whenever an engine becomes ready."""
        self._wait_for_ready.add(ready)
        try:
            yield
        finally:
            self._wait_for_ready.discard(ready)

    @property
    def _ready(self) -> list[EngineClient]:
        return [client for client in self.clients if client.ready]

    def _tell_ready(self) -> None:
        for ready in self._wait_for_ready:
            ready.set()


def _load(client: EngineClient) -> tuple[float, float]:
    """Its streams are counted now; what it says of itself is up to a second old."""
    stats = client.stats
    if stats is None:
        return client.active, 0.0
    return client.active / max(1, stats.capacity), stats.predicted_ttfa_s
