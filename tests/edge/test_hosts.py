"""Names that the server answers to, pages of other sites, and paths that there are not."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest

from server.settings import Settings
from tests.edge.toy import serving
from tests.edge.toy_server import ToyServer

HANDSHAKE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def asked(method: str, path: str, headers: dict[str, str], **settings: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with serving(**settings) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("host", "settings", "passes"),
    [
        ("localhost:8000", {}, True),
        ("LOCALHOST.", {}, True),
        ("me.localhost", {}, True),
        ("127.0.0.1:8000", {}, True),
        ("[::1]:8000", {}, True),
        ("192.168.0.7", {}, True),
        ("rebound.example", {}, False),
        ("rebound.example:8000", {"host": "::1"}, False),
        ("rebound.example", {"host": "localhost"}, False),
        ("localhost.evil.example", {}, False),
        ("127.0.0.1.evil.example", {}, False),
        ("", {}, False),
        ("anything.example", {"host": "0.0.0.0"}, True),
        ("anything.example", {"host": "0.0.0.0", "allowed_hosts": "tts.example"}, False),
        ("tts.example:443", {"allowed_hosts": "TTS.example, *.inside"}, True),
        ("a.inside", {"allowed_hosts": "tts.example, *.inside"}, True),
        ("inside", {"allowed_hosts": "tts.example, *.inside"}, False),
        ("localhost", {"allowed_hosts": "tts.example"}, False),
        ("anything.example", {"allowed_hosts": "*"}, True),
    ],
)
def test_names(host: str, settings: dict[str, str], passes: bool) -> None:
    defaults = {"allowed_hosts": "", **settings}
    answer = asked("GET", "/v1/models", {"host": host, "origin": f"http://{host}"}, **defaults)
    assert answer.status_code == (200 if passes else 421)
    if not passes:
        error = answer.json()["error"]
        assert error["code"] == "host_not_allowed"
        assert repr(host) in error["message"]
        assert "PARLANDO_ALLOWED_HOSTS" in error["message"]


def test_a_rebound_name_gets_no_websocket_either() -> None:
    with ToyServer() as server:
        received = server.ask(
            b"GET /v1/audio/speech/ws HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
            + HANDSHAKE
            + b"\r\n"
        )
    assert received.startswith(b"HTTP/1.1 421 ")
    assert b"PARLANDO_ALLOWED_HOSTS" in received


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ("", "https://app.example", 403),
        ("https://app.example", "https://other.example", 403),
        ("https://app.example", "https://app.example", 200),
        ("*", "https://app.example", 200),
    ],
)
def test_a_preflight_that_is_refused_says_what_to_set(origins: str, origin: str, status: int) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    answer = asked("OPTIONS", "/v1/audio/speech", headers, allowed_origins=origins)
    assert answer.status_code == status
    if status != 200:
        message = answer.json()["error"]["message"]
        assert origin in message
        assert "PARLANDO_ALLOWED_ORIGINS" in message
        assert "access-control-allow-origin" not in answer.headers


def test_a_websocket_that_is_refused_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The client caused it, and can as often as it likes."""
    logger = logging.getLogger("uvicorn.error")
    with ToyServer() as server:
        logger.addHandler(caplog.handler)
        try:
            assert server.ask(b"GET /v1/nowhere HTTP/1.1\r\nHost: localhost\r\n" + HANDSHAKE + b"\r\n")
        finally:
            logger.removeHandler(caplog.handler)
    assert not caplog.messages


def test_unknown_paths_name_those_that_there_are() -> None:
    with ToyServer() as server:
        received = server.ask(b"GET /v1/nowhere HTTP/1.1\r\nHost: localhost\r\n" + HANDSHAKE + b"\r\n")
        assert received.startswith(b"HTTP/1.1 404 ")
        message = json.loads(received.partition(b"\r\n\r\n")[2])["error"]["message"]
        assert "'/v1/nowhere'" in message
        assert "/v1/audio/speech/ws, /v1/text-to-speech/{voice_id}/stream-input" in message
        # A path of HTTP's is none of WebSocket's, and the other way round.
        received = server.ask(b"GET /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\n" + HANDSHAKE + b"\r\n")
        assert received.startswith(b"HTTP/1.1 404 ")
        received = server.ask(b"GET /v1/audio/speech/ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 426 ")
        assert b"ws://" in received
        received = server.ask(b"GET /v1/audio/speach HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 404 ")
        assert b"/v1/audio/speech, " in received


def test_lists_of_names() -> None:
    settings = Settings(voice_aliases="Ryan=rms, Vivian = slt+awb", model_aliases="b, a/B-1")
    assert settings.voice_names == {"Ryan": "rms", "Vivian": "slt+awb"}
    assert settings.model_names == ["a/B-1", "b"]
    for wrong in ("Ryan", "Ryan=", "=rms"):
        with pytest.raises(ValueError, match="write NAME=VOICE"):
            Settings(voice_aliases=wrong)
