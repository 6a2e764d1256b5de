"""The toy engine behind the real web server, on a port of the loopback, and a client that is a bare socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import uvloop

from server.app import create_app
from server.serving import DrainingServer, listen, web_server, wyoming_door
from server.settings import Settings
from server.state import State
from tests.edge.toy import ToyEngine

_WITHIN_S = 10.0


class ToyServer:
    def __init__(self, *, max_files: int = 4_096, **settings: Any) -> None:
        self.toy = ToyEngine()
        configured = Settings(**settings)
        app = create_app(configured, worker=self.toy)
        self.state: State = app.state.parlando
        self._listener = listen("127.0.0.1", 0)
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self.wyoming = wyoming_door(configured, self.state)
        self.server = DrainingServer(web_server(app, configured, max_files=max_files), self.state, self.wyoming)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self.server.serve(sockets=[self._listener]))

    def __enter__(self) -> ToyServer:
        self._thread.start()
        for _ in range(1_000):
            if b"200 OK" in self.ask(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
                return self
        raise AssertionError("the toy is never ready")

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.toy.released.set()
        self.server.should_exit = True
        self._thread.join(_WITHIN_S)
        self._listener.close()
        assert not self._thread.is_alive()

    @contextmanager
    def dial(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=_WITHIN_S) as connection:
            yield connection

    def ask(self, request: bytes) -> bytes:
        """Everything that is answered until the server closes."""
        with self.dial() as connection:
            connection.sendall(request)
            return heard(connection)


def heard(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    with suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            parts.append(data)
    return b"".join(parts)


def answer(connection: socket.socket) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """One answer of a connection that stays open: status line, headers in small letters, body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    if status.split()[1].startswith(b"1"):  # the real one follows
        return status, {}, body
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if headers.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
        return status, headers, dechunked(body)
    while len(body) < int(headers.get(b"content-length", b"0")):
        body += _more(connection)
    return status, headers, body


def dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    assert data, "the server closed in the middle of an answer"
    return data
