"""The requests of the public benchmark client of nari-labs, with its default model, voice and language: over HTTP, and
word by word over `nari.speech.v1`. The client itself has been run too (docs/measurements/qwen3-tts.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from engines.families.qwen3_tts.bundle import Bundle
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import hear, say

ASKED = {"model": "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice", "voice": "Ryan", "language": "English"}
TEXT = "Hello world, the quick brown fox speaks."
AUDIO = {"encoding": "pcm_s16le", "sample_rate": 24_000, "channels": 1}


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with RunningServer(bundle=str(bundle.folder), slots="4") as running:
        yield running


def _over_http(server: RunningServer, **asked: object) -> httpx.Response:
    body = {**ASKED, "input": TEXT, "stream": True, "non_streaming_mode": False, "response_format": "pcm", **asked}
    return httpx.post(server.url + "/v1/audio/speech", json=body, timeout=60)


def _over_socket(server: RunningServer, **asked: object) -> tuple[bytes, list[dict[str, Any]]]:
    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", **{**ASKED, "response_format": "pcm", **asked})
        for sequence, word in enumerate(words := TEXT.split(" ")):
            space = " " if sequence < len(words) - 1 else ""
            say(socket, type="input_text.append", sequence=sequence, text=word + space)
        say(socket, type="input_text.end", sequence=len(words))
        return hear(socket, "response.done")


def test_its_requests_are_spoken(server: RunningServer) -> None:
    assert httpx.get(server.url + "/health").status_code == 200
    answer = _over_http(server, seed=0)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "audio/pcm"
    pcm, events = _over_socket(server)
    assert pcm == answer.content == _over_http(server, seed=0, voice="ryan").content
    assert next(event["audio"] for event in events if event["type"] == "response.started") == AUDIO
    assert _over_socket(server, language="french")[0] != pcm


def test_other_names_are_refused(server: RunningServer) -> None:
    for asked, status, expected in (
        ({"model": "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice"}, 404, "does not exist; valid: Qwen3-TTS-12Hz-1.7B-Custom"),
        ({"voice": "Bryan"}, 400, "'Bryan'"),
        ({"language": "klingon"}, 400, "language 'klingon' is not spoken here"),
    ):
        answer = _over_http(server, **asked)
        assert (answer.status_code, expected in answer.text) == (status, True), answer.text
