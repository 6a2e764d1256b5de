"""Bare sockets for clients that no library would be: raw requests, and WebSocket frames made by hand."""

from __future__ import annotations

import base64
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.edge.conftest import RunningServer
from tests.edge.toy_server import ToyServer

Server = RunningServer | ToyServer
WITHIN_S = 20.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40


@contextmanager
def dial(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S) as connection:
        yield connection


def send_all(connection: socket.socket, data: bytes) -> None:
    """As much as the server takes."""
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0) -> bytes:
    """Masked, as a client's are; the mask is zero, so the payload stands as it is."""
    length = len(payload)
    head = bytes([(FIN if fin else 0) | bits | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    else:
        head += bytes([0x80 | 126]) + struct.pack("!H", length)
    return head + bytes(4) + payload


@contextmanager
def websocket(
    server: RunningServer | ToyServer, path: str = "/v1/audio/speech/ws", *fields: str
) -> Iterator[socket.socket]:
    """After the handshake."""
    with dial(server) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *fields, "", "",
        ]  # fmt: skip
        connection.sendall("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield connection


def close_of(connection: socket.socket) -> tuple[int, str]:
    """Code and reason of the server's close, behind whatever comes before it."""
    stream = connection.makefile("rb")
    while True:
        first, second = stream.read(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        payload = stream.read(length)
        if first & 0x0F == CLOSE:
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()
