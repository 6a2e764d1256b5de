"""The listening socket and the way out: uvicorn with our own drain.

uvicorn closes every WebSocket at the first SIGTERM. Here the first signal turns /ready red and lets live utterances
finish, up to a deadline; the second stops at once.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from server.logs import get_logger
from server.settings import Settings
from server.state import State

log = get_logger()
_SEND_BUFFER_BYTES = 65_536  # the kernel's default would hide minutes of unread audio from us
_DEAD_PEER_MS = 10_000


class DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state
        self._deadline_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._deadline_s is not None or sig == signal.SIGINT:
            self.should_exit = True
            return
        self._deadline_s = time.monotonic() + self._state.settings.drain_s
        self._state.draining = True
        log.info("draining", live=len(self._state.live))

    async def on_tick(self, counter: int) -> bool:
        if self._deadline_s is not None and (not self._state.live or time.monotonic() > self._deadline_s):
            self.should_exit = True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """Buffers and time-outs are set here because accepted sockets inherit them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
    listener.bind((host, port))
    return listener


def serve(app: FastAPI, settings: Settings) -> None:
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=settings.max_message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=10,
        ws_ping_timeout=10,
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.ssl_certfile is None else "https"
    log.info("listening", url=f"{scheme}://{host}:{port}", engine=settings.engine_mode.value)
    DrainingServer(config, app.state.parlando).run(sockets=[listener])
