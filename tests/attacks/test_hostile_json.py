"""JSON made to break its reader, through every door: answered as the caller's fault, and nothing else happens."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.attacks.victim import Victim
from tests.edge.conftest import RunningServer

DEEP = "[" * 60_000
HUGE = "1" * 60_000
HOSTILE = {
    "deep": f'{{"input": "hi", "text": "hi", "type": "append", "name": "x", "rules": {DEEP}',
    "deep and closed": f'{{"input": {"[" * 20_000}{"]" * 20_000}, "text": 1, "type": "append"}}',
    "huge number": f'{{"input": "hi", "text": "hi", "type": "start", "name": "x", "rules": [], "seed": {HUGE}}}',
    "huge exponent": '{"input": "hi", "text": "hi", "type": "start", "name": "x", "rules": [], "seed": 1e999999}',
    "surrogate": '{"input": "\\ud800", "text": "\\ud800", "type": "append", "name": "\\ud800", "rules": [{}]}',
    "not a number": '{"input": "hi", "text": "hi", "type": "start", "speed": NaN, "voice_settings": {"speed": NaN}}',
    "many keys": json.dumps({f"k{number}": 0 for number in range(4_000)}),
    "keys": '{"rules": {}, "name": {}, "input": {}, "text": {}, "type": {}}',
    "null": "null",
    "bytes": "\x00\x01",
}
HTTP = (
    "/v1/audio/speech",
    "/v1/text-to-speech/rms",
    "/v1/text-to-speech/rms/stream/with-timestamps",
    "/v1/pronunciation-dictionaries/add-from-rules",
    "/v1/pronunciation-dictionaries/add-from-file",
)
SOCKETS: tuple[tuple[str, list[Any]], ...] = (
    ("/v1/audio/speech/ws", ["parlando.v1"]),
    ("/v1/audio/speech/ws", ["nari.speech.v1"]),
    ("/v1/text-to-speech/rms/stream-input", []),
    ("/v1/text-to-speech/rms/multi-stream-input", []),
)


def test_bodies(client: httpx.Client, victim: Victim) -> None:
    for path in HTTP:
        for name, body in HOSTILE.items():
            answer = client.post(path, content=body.encode(), headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, (path, name, answer.text[:200])
            assert len(answer.content) < 10_000, (path, name)


@pytest.mark.parametrize(("path", "subprotocols"), SOCKETS)
def test_messages(server: RunningServer, path: str, subprotocols: list[Any]) -> None:
    for name, message in HOSTILE.items():
        with connect(f"ws://127.0.0.1:{server.port}{path}", subprotocols=subprotocols or None) as socket:
            socket.send(message)
            with suppress(ConnectionClosed):  # a dialect that carries one utterance a socket may have closed it
                socket.send("{")  # one that ignores what it does not know has nothing against the first
            told = socket.recv(timeout=20)
            assert isinstance(told, str), name
            assert "internal" not in told, (name, told[:200])
            assert len(told) < 10_000, name


def test_the_server_lives_on(client: httpx.Client) -> None:
    assert client.post("/v1/audio/speech", json={"input": "Still here.", "response_format": "pcm"}).status_code == 200
