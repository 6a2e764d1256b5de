"""The listening socket and the way out: uvicorn with our own drain.

uvicorn closes every WebSocket at the first SIGTERM. Here the first signal begins a drain (server/shutdown.py); the
second stops at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server

from engines.errors import ConfigError
from server.app import VERSION
from server.engine.worker import keep_from_collector
from server.logs import get_logger
from server.protocols.wyoming.door import WyomingDoor
from server.settings import Settings
from server.state import State
from server.transport.certificate import Certificate
from server.transport.http_protocol import HttpProtocol
from server.transport.idle_connections import IdleConnections
from server.transport.websocket_protocol import WsProtocol

log = get_logger()
_SEND_BUFFER_BYTES = 65_536  # the kernel's default would hide minutes of unread audio from us
_RECEIVE_BUFFER_BYTES = 65_536  # its default grows to megabytes for each client that sends faster than it is read
_DEAD_PEER_MS = 8_000  # what was sent and not acknowledged for so long cuts the connection
_KEEP_ALIVE_S = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 2}  # a silent peer is asked, twice
_PING_S = 5.0  # a WebSocket that does not answer one is freed after twice that
_BACKLOG = 512
_OWN_FILES = 64  # open files that are no connections
_FEWEST_PLACES = 16  # with fewer it could not be called a server


class DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, state: State, wyoming: WyomingDoor | None = None) -> None:
        super().__init__(config)
        self._state, self._wyoming = state, wyoming
        self._certificate = certificate_of(config, state)
        self._told_to_leave = self._told_to_stop = False
        self._drain: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._told_to_stop = self._told_to_leave or sig == signal.SIGINT
        self._told_to_leave = True

    async def on_tick(self, counter: int) -> bool:
        if self._certificate is not None:
            self._certificate.refresh()
        if self._told_to_leave and self._drain is None:  # here: a signal's handler must not wake tasks
            log.info("draining", live=len(self._state.live), delay_s=self._state.settings.drain_delay_s)
            self._drain = asyncio.create_task(self._leave())
        if self._told_to_stop:
            await self._cut()
        if self._told_to_stop or (self._drain is not None and self._drain.done()):
            self.should_exit = True
        return await super().on_tick(counter)

    async def _leave(self) -> None:
        if not await self._state.drain():
            await self._cut()

    async def _cut(self) -> None:
        if cut := await self._state.shutdown.cut():
            log.warning("utterances_cut", utterances=cut, means="they were told that the server stops")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._wyoming is not None:
            await self._wyoming.open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._wyoming is not None:
            await self._wyoming.close()
        await super().shutdown(sockets)


def certificate_of(config: uvicorn.Config, state: State) -> Certificate | None:
    settings = state.settings
    if settings.ssl_certfile is None or config.ssl is None:
        return None
    return Certificate(config.ssl, settings.ssl_certfile, settings.ssl_keyfile, state.clock)


def listen(host: str, port: int) -> socket.socket:
    """Buffers and time-outs are set here because accepted sockets inherit them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_USER_TIMEOUT", _DEAD_PEER_MS), *_KEEP_ALIVE_S.items()):
        with contextlib.suppress(AttributeError, OSError):  # Linux only
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # here: until then another process may bind the same port
    except OSError as error:
        listener.close()
        raise cannot_listen(host, port, error) from error
    return listener


def cannot_listen(host: str, port: int, error: OSError) -> OSError:
    """The system's words name no address."""
    return OSError(f"cannot listen on {authority(host, port)}: {(error.strerror or str(error)).lower()}")


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def raise_file_limit() -> int:
    """To what this process may open at most."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else sys.maxsize


def web_server(app: FastAPI, settings: Settings, *, max_files: int) -> uvicorn.Config:
    left = max(0, max_files - _OWN_FILES)
    places = min(2 * settings.max_connections, left)  # silent ones among them
    if left < _FEWEST_PLACES:
        message = f"this process may open {max_files} files, which leaves {left} for connections"
        raise ConfigError(f"{message}; raise the limit (ulimit -n, LimitNOFILE)")
    if places < settings.max_connections:
        log.warning("few_open_files", limit=max_files, max_connections=settings.max_connections)
    idle_connections = IdleConnections(places)
    http = partial(
        HttpProtocol,
        idle_connections=idle_connections,
        max_head_bytes=settings.max_head_bytes,
        head_timeout_s=settings.body_timeout_s,
    )
    return uvicorn.Config(
        app,
        log_config=None,  # its errors are lines of our log; its warnings are about what clients send, however often
        access_log=False,
        http=http,  # type: ignore[arg-type]
        ws=partial(WsProtocol, idle_connections=idle_connections),  # type: ignore[arg-type]
        ws_max_size=8
        * settings.max_message_bytes,  # `max_message_bytes` is smaller and sends an error before the close
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        backlog=_BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )


def loaded(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Raises OSError or ConfigError for what the web server cannot serve with."""
    config = web_server(app, settings, max_files=raise_file_limit())
    try:
        config.load()
    except OSError as error:
        pair = f"{settings.ssl_certfile} and {settings.ssl_keyfile or 'the key in it'}"
        raise OSError(f"cannot speak TLS with {pair}: {error.strerror or error}") from error
    return config


def serve(app: FastAPI, settings: Settings) -> None:
    listener = listen(settings.host, settings.port)
    config = loaded(app, settings)
    state: State = app.state.parlando
    if settings.metrics_port is not None:
        try:
            metrics, _ = start_http_server(settings.metrics_port, addr=settings.host, registry=state.metrics.registry)
        except OSError as error:
            raise cannot_listen(settings.host, settings.metrics_port, error) from error
        log.info("metrics", url=f"http://{authority(settings.host, metrics.server_port)}/metrics")
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.ssl_certfile is None else "https"
    log.info("listening", url=f"{scheme}://{authority(host, port)}", engine=settings.engine_mode.value)
    wyoming = wyoming_door(settings, state)
    keep_from_collector()
    server = DrainingServer(config, state, wyoming)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # of nohup
        signal.signal(signal.SIGHUP, server.handle_exit)
    server.run(sockets=[listener])


def check_wyoming(settings: Settings, state: State) -> None:
    """Raises ConfigError when keys are configured and none of them is Wyoming's."""
    if settings.wyoming_port is not None and not state.access.may_enter(settings.wyoming_key):
        raise ConfigError("keys are configured, and Wyoming carries none: wyoming_key has to be one of them")


def wyoming_door(settings: Settings, state: State) -> WyomingDoor | None:
    if settings.wyoming_port is None:
        return None
    check_wyoming(settings, state)
    listener = listen(settings.host, settings.wyoming_port)
    door = WyomingDoor(state, listener, VERSION)
    log.info("listening", url=f"tcp://{authority(*listener.getsockname()[:2])}", protocol="wyoming")
    return door
