"""WebSocket frames byte by byte: what RFC 6455 allows is understood, what it forbids closes with the right code."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket as sockets
import struct
from collections.abc import Iterator

import pytest

from tests.edge.conftest import RunningServer

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
APPEND = json.dumps({"type": "append", "text": "Hi. "}).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    first = fin << 7 | reserved << 4 | opcode
    size = len(payload)
    if size < 126:
        length = struct.pack("!B", size)
    elif size < 65_536:
        length = struct.pack("!BH", 126, size)
    else:
        length = struct.pack("!BQ", 127, size)
    if not masked:
        return bytes([first]) + length + payload
    mask = b"\x9f\x02\xe1\x58"  # the same in each process that runs tests: names of cases hold it
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + hidden


class RawSocket:
    def __init__(self, server: RunningServer) -> None:
        self._tcp = sockets.create_connection(("127.0.0.1", server.port), timeout=10)
        self._file = self._tcp.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self._tcp.sendall(
            f"GET /v1/audio/speech/ws HTTP/1.1\r\nHost: localhost:{server.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._file.readline()
        assert head.startswith(b"HTTP/1.1 101")
        assert b"deflate" not in head.lower()

    def send(self, data: bytes) -> None:
        """The server need not read on once it has told why it closes; that can still be read."""
        with contextlib.suppress(ConnectionError):
            self._tcp.sendall(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Until the server closes."""
        while head := self._file.read(2):
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self._file.read(2 if size == 126 else 8))
            yield head[0] & 0x0F, self._file.read(size)

    def close_code(self) -> int | None:
        """The code of the server's close; None when it ends the connection without one."""
        for opcode, payload in self.frames():
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0] if payload else 1005
        return None

    def hears(self, kind: str) -> bool:
        return any(opcode == TEXT and json.loads(payload)["type"] == kind for opcode, payload in self.frames())

    def __enter__(self) -> RawSocket:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._tcp.close()


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, APPEND),
        frame(TEXT, APPEND[:7], fin=False) + frame(0, APPEND[7:]),
        b"".join(
            frame(TEXT if not at else 0, APPEND[at : at + 1], fin=at == len(APPEND) - 1) for at in range(len(APPEND))
        ),
        frame(TEXT, APPEND[:7], fin=False) + frame(PING, b"in between") + frame(0, APPEND[7:]),
        frame(PONG, b"not asked for") + frame(TEXT, APPEND),
        frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) + frame(0, APPEND),
    ],
    ids=["whole", "two parts", "single bytes", "ping within", "pong alone", "empty parts"],
)
def test_allowed_frames_are_understood(server: RunningServer, sent: bytes) -> None:
    with RawSocket(server) as socket:
        socket.send(sent)
        assert socket.hears("started")


def test_a_ping_is_answered_with_its_payload(server: RunningServer) -> None:
    with RawSocket(server) as socket:
        socket.send(frame(PING, b"are you there"))
        assert next(socket.frames()) == (PONG, b"are you there")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, APPEND, reserved=4), 1002),
        (frame(TEXT, APPEND, reserved=1), 1002),
        (frame(3, b"unknown"), 1002),
        (frame(11, b"unknown control"), 1002),
        (frame(TEXT, APPEND, masked=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(0, b"continues nothing"), 1002),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002),
        (frame(CLOSE, struct.pack("!H", 1000) + b"bye"), 1000),
        (frame(CLOSE, struct.pack("!H", 4321)), 4321),
        (frame(BINARY, b"\x00"), 1003),
        (frame(TEXT, b"not json"), 1007),
        (frame(TEXT, b" " * 70_000), 1009),
        (frame(TEXT, b" " * 600_000), 1009),
    ],
)
def test_forbidden_frames_close_with_their_code(server: RunningServer, sent: bytes, code: int) -> None:
    with RawSocket(server) as socket:
        socket.send(sent)
        assert socket.close_code() == code
    with RawSocket(server) as another:
        another.send(frame(TEXT, APPEND))
        assert another.hears("started")
