"""The listening socket and the way out: uvicorn with our own drain.

uvicorn closes every WebSocket at the first SIGTERM. Here the first signal turns /ready red, refuses new utterances,
asks idle sockets to leave (1012) and lets live utterances finish, up to a deadline; the second stops at once.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server

from server.engine_worker import keep_from_collector
from server.logs import get_logger
from server.settings import Settings
from server.state import State

log = get_logger()
_SEND_BUFFER_BYTES = 65_536  # the kernel's default would hide minutes of unread audio from us
_DEAD_PEER_MS = 8_000  # what was sent and not acknowledged for so long cuts the connection
_KEEP_ALIVE_S = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 2}  # a silent peer is asked, twice
_PING_S = 5.0  # a WebSocket that does not answer one is freed after twice that
_BACKLOG = 512
_TICKS_A_SECOND = 10


class DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state
        self._deadline_s: float | None = None
        self._silent_since_s: dict[object, float] = {}  # connections on which no request has come yet

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._deadline_s is not None or sig == signal.SIGINT:
            self.should_exit = True
            return
        self._deadline_s = time.monotonic() + self._state.settings.drain_s

    async def on_tick(self, counter: int) -> bool:
        if self._deadline_s is not None:
            if not self._state.draining:
                self._state.drain.set()  # here and not in the signal's handler, which must not wake tasks
                log.info("draining", live=len(self._state.live))
            elif not self._state.live or time.monotonic() > self._deadline_s:
                self.should_exit = True
        if counter % _TICKS_A_SECOND == 0:
            self._drop_the_silent()
        return await super().on_tick(counter)

    def _drop_the_silent(self) -> None:
        """Who connects and says nothing, or a head without end, would hold its connection for ever."""
        now, silent = time.monotonic(), dict[object, float]()
        for connection in list(self.server_state.connections):
            if getattr(connection, "cycle", self) is not None:
                continue  # a request has come, or a WebSocket
            silent[connection] = since_s = self._silent_since_s.get(connection, now)
            if now - since_s > self._state.settings.body_timeout_s:
                connection.transport.close()
        self._silent_since_s = silent


def listen(host: str, port: int) -> socket.socket:
    """Buffers and time-outs are set here because accepted sockets inherit them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_USER_TIMEOUT", _DEAD_PEER_MS), *_KEEP_ALIVE_S.items()):
        with contextlib.suppress(AttributeError, OSError):  # Linux only
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    listener.bind((host, port))
    return listener


def serve(app: FastAPI, settings: Settings) -> None:
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=8 * settings.max_message_bytes,  # ours is smaller and says so before the close
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        h11_max_incomplete_event_size=16_384,
        limit_concurrency=2 * settings.max_connections,  # idle ones among them; ours counts those it serves
        backlog=_BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )
    state: State = app.state.parlando
    if settings.metrics_port is not None:
        server, _ = start_http_server(settings.metrics_port, addr=settings.host, registry=state.metrics.registry)
        log.info("metrics", url=f"http://{settings.host}:{server.server_port}/metrics")
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.ssl_certfile is None else "https"
    log.info("listening", url=f"{scheme}://{host}:{port}", engine=settings.engine_mode.value)
    keep_from_collector()
    DrainingServer(config, state).run(sockets=[listener])
