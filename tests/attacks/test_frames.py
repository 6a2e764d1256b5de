"""WebSocket frames that carry nothing, never end, or are not what was agreed."""

from __future__ import annotations

import zlib
from contextlib import suppress
from socket import MSG_WAITALL, socket

import pytest

from tests.attacks.sockets import (
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    close_of,
    dial,
    frame,
    send_all,
    websocket,
)
from tests.attacks.victim import Victim
from tests.edge.conftest import RunningServer
from tests.edge.toy_server import ToyServer, heard

MANY = 170_000  # about a megabyte of empty frames
TOO_MANY = (1008, "more than 64 control or continuation frames a second")


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["pings", "pongs"])
def test_control_frames_without_end(server: RunningServer, victim: Victim, opcode: int) -> None:
    with websocket(server) as socket:
        send_all(socket, frame(opcode) * MANY)
        assert_closed(socket)


@pytest.mark.parametrize("part", [b"", b"x"])
def test_a_message_in_pieces_without_end(server: RunningServer, victim: Victim, part: bytes) -> None:
    with websocket(server) as socket:
        send_all(socket, frame(TEXT, b"{", fin=False) + frame(CONTINUATION, part, fin=False) * MANY)
        assert_closed(socket)


def assert_closed(connection: socket) -> None:
    """With the reason, unless unread bytes have taken the close away."""
    with suppress(ConnectionResetError, ValueError):
        assert close_of(connection) == TOO_MANY


def test_the_reason_is_told() -> None:
    with ToyServer() as server, websocket(server) as socket:
        socket.sendall(frame(PING) * 600)
        assert close_of(socket) == TOO_MANY


def test_pings_at_a_decent_rate_are_answered_and_large_messages_come_in_pieces() -> None:
    with ToyServer() as server, websocket(server) as socket:
        socket.sendall(frame(PING, b"one") * 100)
        for _ in range(100):
            assert socket.recv(5, MSG_WAITALL) == bytes([0x80 | PONG, 3]) + b"one"
        parts = [b'{"type": "append", "text": "one "', *[b" "] * 300]
        socket.sendall(
            frame(TEXT, parts[0], fin=False) + b"".join(frame(CONTINUATION, p, fin=False) for p in parts[1:])
        )
        socket.sendall(frame(CONTINUATION, b"}"))
        assert b'"started"' in socket.recv(65_536)


def test_compressed_frames_are_refused(server: RunningServer, victim: Victim) -> None:
    deflate = zlib.compressobj(wbits=-15)
    bomb = deflate.compress(b"0" * 2**25) + deflate.flush(zlib.Z_SYNC_FLUSH)
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    with websocket(server, "/v1/audio/speech/ws", offer) as socket:
        socket.sendall(frame(TEXT, bomb[:60_000], bits=RSV1))
        assert close_of(socket)[0] == 1002


@pytest.mark.parametrize(
    "request_line",
    [b"POST /v1/audio/speech/ws HTTP/1.1", b"GET /v1/audio/speech/ws HTTP/1.0", b"GET /%s HTTP/1.1" % (b"x" * 9_000)],
)
@pytest.mark.parametrize("more", [b"", b"X: %s\r\n" % (b"x" * 9_000), b"Content-Length: 10\r\n"])
def test_a_handshake_that_is_none_is_answered(request_line: bytes, more: bytes) -> None:
    handshake = (
        b"Host: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    )
    with ToyServer(body_timeout_s=0.5) as server:
        received = server.ask(request_line + b"\r\n" + handshake + more + b"\r\n")
        assert received.startswith(b"HTTP/1.1 4"), received


def test_messages_without_end_wait_for_their_turn(server: RunningServer, victim: Victim) -> None:
    with websocket(server) as socket:
        send_all(socket, frame(TEXT, b'{"type":"cancel"}') * 5_000)


def test_half_a_handshake_is_cut() -> None:
    with RunningServer(body_timeout_s="0.5") as server, dial(server) as connection:
        connection.sendall(b"GET /v1/audio/speech/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n")
        assert heard(connection).startswith(b"HTTP/1.1 408 ")
