"""A language asked for in each dialect's words is the same audio; so is an instruction where a dialect has one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from engines.families.qwen3_tts.bundle import Bundle
from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_ws import dial, hear, say
from tests.edge.wyoming_client import WyomingClient

TEXT = "Hello world. "
RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
CARTESIA = {"model_id": "sonic-3", "voice": "serena", "output_format": RAW, "transcript": TEXT}


@pytest.fixture(scope="module")
def wyoming_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(bundle: Bundle, wyoming_port: int) -> Iterator[RunningServer]:
    settings = {"seed": "7", "voice_aliases": "asteria=serena", "wyoming_port": str(wyoming_port)}
    running = RunningServer(bundle=str(bundle.folder), slots="6", **settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def _openai(client: httpx.Client, **asked: object) -> bytes:
    body = {"input": TEXT, "voice": "serena", "response_format": "pcm", **asked}
    answer = client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.fixture(scope="module")
def french(client: httpx.Client) -> bytes:
    spoken = _openai(client, language="fr")
    assert spoken != _openai(client)
    return spoken


@pytest.fixture(scope="module")
def deep(client: httpx.Client) -> bytes:
    return _openai(client, language="fr", instructions="speak in a deep voice")


@pytest.mark.parametrize("language", ["FR", "french", "fr-CA", "fr_FR"])
def test_names_and_codes(client: httpx.Client, french: bytes, language: str) -> None:
    assert _openai(client, language=language) == french


def test_a_dialect_by_its_name(client: httpx.Client, french: bytes) -> None:
    assert _openai(client, language="Beijing_Dialect") not in (french, _openai(client, language="zh"))


SAMPLED = {"top_k": 2, "top_p": 0.7, "repetition_penalty": 1.9}


@pytest.mark.parametrize("name", SAMPLED)
def test_how_codes_are_drawn(server: RunningServer, client: httpx.Client, name: str) -> None:
    asked, plain = {name: SAMPLED[name]}, _openai(client)
    drawn = _openai(client, **asked)
    assert drawn != plain
    with dial(server) as socket:
        say(socket, type="start", voice="serena", **asked)
        say(socket, type="append", text=TEXT)
        say(socket, type="end")
        assert hear(socket, "done")[0] == drawn
    with connect(server.ws_url.removesuffix("/ws") + "/stream", compression=None) as socket:
        say(socket, type="session.config", voice="serena", **asked)
        say(socket, type="input.text", text=TEXT)
        say(socket, type="input.done")
        assert hear(socket, "audio.done")[0] == drawn
    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", voice="serena", response_format="pcm", seed=7, **asked)
        say(socket, type="input_text.append", sequence=0, text=TEXT)
        say(socket, type="input_text.end", sequence=1)
        assert hear(socket, "response.done")[0] == drawn
    wrong = client.post("/v1/audio/speech", json={"input": TEXT, "voice": "serena", "top_p": 7.0})
    assert wrong.status_code == 400
    assert "top_p" in wrong.text


def test_parlando(server: RunningServer, french: bytes, deep: bytes) -> None:
    for asked, expected in (({}, french), ({"instructions": "speak in a deep voice"}, deep)):
        with dial(server) as socket:
            say(socket, type="start", voice="serena", language="fr", **asked)
            say(socket, type="append", text=TEXT)
            say(socket, type="end")
            assert hear(socket, "done")[0] == expected


def test_vllm_omni(server: RunningServer, deep: bytes) -> None:
    with connect(server.ws_url.removesuffix("/ws") + "/stream", compression=None) as socket:
        asked = {"language": "French", "instructions": "speak in a deep voice"}
        say(socket, type="session.config", voice="serena", **asked)
        say(socket, type="input.text", text=TEXT)
        say(socket, type="input.done")
        assert hear(socket, "audio.done")[0] == deep


def test_elevenlabs(server: RunningServer, client: httpx.Client, french: bytes) -> None:
    place, form = "/v1/text-to-speech/serena", {"output_format": "pcm_24000"}
    assert client.post(place, params=form, json={"text": TEXT, "language_code": "fr"}).content == french
    address = server.url.replace("http", "ws") + f"{place}/stream-input?output_format=pcm_24000&language_code=fr"
    with connect(address, compression=None) as socket:
        for text in (" ", TEXT, ""):
            socket.send(json.dumps({"text": text}))
        heard = [json.loads(message) for message in socket]
    assert b"".join(base64.b64decode(one["audio"]) for one in heard if one.get("audio")) == french
    (model, *_) = client.get("/v1/models", headers={"xi-api-key": "any"}).json()
    assert {"language_id": "fr", "name": "French"} in model["languages"]


@pytest.mark.parametrize("asked", [{"language": "fr"}, {"locale": "fr-FR"}, {"language": "fr", "locale": "fr_CA"}])
def test_cartesia(server: RunningServer, client: httpx.Client, french: bytes, asked: dict[str, str]) -> None:
    assert client.post("/tts/bytes", json=CARTESIA | asked).content == french
    with connect(server.url.replace("http", "ws") + "/tts/websocket", compression=None) as socket:
        say(socket, context_id="a", **CARTESIA, **asked)
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["type"] != "done":
            heard.append(json.loads(socket.recv(timeout=20)))
    assert b"".join(base64.b64decode(one["data"]) for one in heard if one["type"] == "chunk") == french
    voice = client.get("/voices/serena").json()
    assert voice["language"] == "en"
    assert "fr" in {one["locale"] for one in voice["locales"]}


def test_deepgram(server: RunningServer, client: httpx.Client, french: bytes) -> None:
    query = "model=aura-2-asteria-fr&encoding=linear16&sample_rate=24000"
    assert client.post(f"/v1/speak?{query}&container=none", json={"text": TEXT}).content == french
    for path, end in (("/v1/speak", {"type": "Flushed"}), ("/v2/speak", {"type": "SpeechMetadata"})):
        with connect(server.url.replace("http", "ws") + f"{path}?{query}", compression=None) as socket:
            say(socket, type="Speak", text=TEXT)
            say(socket, type="Flush")
            assert hear(socket, end["type"])[0] == french


def test_wyoming(wyoming_port: int, french: bytes) -> None:
    with WyomingClient(wyoming_port) as socket:
        socket.say("describe")
        told = socket.hear()
        assert told is not None
        spoken = told.data["tts"][0]["voices"][0]["languages"]
        assert spoken[0] == "en"
        assert {"fr", "de", "zh"} <= set(spoken)
        socket.say("synthesize", text=TEXT, voice={"name": "serena", "language": "fr_FR"})
        pcm, _ = socket.hear_until("audio-stop")
    assert pcm == french


def test_a_language_that_is_not_spoken_is_named_with_those_that_are(client: httpx.Client) -> None:
    answer = client.post("/v1/text-to-speech/serena", json={"text": TEXT, "language_code": "fi"})
    assert answer.status_code == 400
    assert "language_code 'fi' is not spoken here; valid: auto, en, " in answer.text
    answer = client.post("/v1/speak?model=aura-2-asteria-fi", json={"text": TEXT})
    assert answer.status_code == 404
    assert "'fi'; valid: en, " in answer.text
