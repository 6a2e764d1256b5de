"""What holds in every dialect: null is not given, errors name the caller's fields, other names for model and voice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from engines.errors import ConfigError
from server.app import create_app
from server.protocols.elevenlabs.messages import ClientMessage as ElevenMessage
from server.protocols.elevenlabs.messages import TextBody
from server.protocols.nari.messages import RequestStart
from server.protocols.openai.messages import SpeechBody
from server.protocols.parlando.messages import StartMessage
from server.schemas import read_json
from server.settings import Settings
from tests.edge.toy import AsgiSocket, serving, word_pcm

ELEVEN = "/v1/text-to-speech/rms"
MODEL, VOICE = "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice", "Ryan"
ALIASES = {"model_aliases": MODEL, "voice_aliases": "Ryan=slt,Choir=rms+slt"}


def over_http(scenario: Callable[[httpx.AsyncClient, FastAPI], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                await scenario(client, app)

    asyncio.run(run())


def nulls(model: Any, *given: str) -> dict[str, None]:
    """Every field of a body or message that may be left out."""
    return {name: None for name in model.model_fields if name not in given}


def test_null_is_not_given_over_http() -> None:
    async def scenario(client: httpx.AsyncClient, app: FastAPI) -> None:
        openai = nulls(SpeechBody) | {"input": "one", "voice": {"id": "rms", "name": None}, "response_format": "pcm"}
        openai["pronunciations"] = {"entries": None, "dictionaries": [{"name": "x", "version": None}][:0]}
        spoken = await client.post("/v1/audio/speech", json=openai)
        assert (spoken.status_code, spoken.content) == (200, word_pcm("one"))
        eleven = nulls(TextBody) | {"text": "one", "voice_settings": {"speed": None, "stability": None}}
        spoken = await client.post(f"{ELEVEN}?output_format=pcm_24000", json=eleven)
        assert (spoken.status_code, spoken.content) == (200, word_pcm("one"))
        missing = await client.post("/v1/audio/speech", json={"input": None})
        assert (missing.status_code, missing.json()["error"]["param"]) == (400, "input")

    over_http(scenario)


def test_null_is_not_given_in_messages() -> None:
    async def scenario() -> None:
        async with serving() as app:
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("start", **{name: None for name in StartMessage.model_fields if name != "type"})
                socket.say("append", text="one", context=None)
                socket.say("end", context=None)
                assert (await socket.hear("done"))[0] == word_pcm("one")
            async with AsgiSocket(app, "nari.speech.v1") as socket:
                socket.say("request.start", **{name: None for name in RequestStart.model_fields if name != "type"})
                socket.say("input_text.append", sequence=0, text="one")
                socket.say("input_text.end", sequence=1)
                assert (await socket.hear("response.done"))[0] == word_pcm("one")
            async with AsgiSocket(app, path=f"{ELEVEN}/stream-input", query="output_format=pcm_24000") as socket:
                for text in (" ", "one ", ""):
                    socket.raw(
                        text=json.dumps({**nulls(ElevenMessage, "text", "key"), "xi-api-key": None, "text": text})
                    )
                told = await socket.recv()
                assert isinstance(told, dict)
                assert told["audio"]

    asyncio.run(scenario())


@pytest.mark.parametrize("raw", ["{", '{"a": NaN}', "[" * 100_000, '{"a": ' + "1" * 5_000 + "}"])
def test_what_is_not_json(raw: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(raw)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"input": "x" * 300}, "input", "input has 300 characters, the limit is 256"),
        ({"input": "a \ud800"}, "input", "input: character 2"),
        ({"input": 5}, "input", "input: "),
        ({"input": "one", "voice": 5}, "voice", "voice: "),
        ({"input": "one", "voice": {"name": "rms"}}, "voice", "voice"),
        ({"input": "one", "voice": "none"}, "voice", "'none'"),
        ({"input": "one", "response_format": "mp4"}, "response_format", "'mp4'"),
        ({"input": "one", "pronunciations": {"dictionaries": [5]}}, "pronunciations.dictionaries.0", "5"),
        ({"input": "one", "model": "gpt-9"}, "model", "'gpt-9'"),
    ],
)
def test_openai_hears_of_its_own_fields(body: dict[str, Any], param: str, says: str) -> None:
    async def scenario(client: httpx.AsyncClient, app: FastAPI) -> None:
        content = json.dumps({"response_format": "pcm", **body})
        answer = await client.post("/v1/audio/speech", content=content)
        error = answer.json()["error"]
        assert error["param"].startswith(param)
        assert says in error["message"]

    over_http(scenario, max_characters=256)


def test_elevenlabs_hears_of_its_own_fields() -> None:
    async def scenario(client: httpx.AsyncClient, app: FastAPI) -> None:
        answer = await client.post(ELEVEN, json={"text": "x" * 300})
        assert "text has 300 characters" in answer.json()["detail"]["message"]
        answer = await client.post(ELEVEN, json={"text": 5})
        assert answer.json()["detail"][0]["loc"] == ["body", "text"]

    over_http(scenario, max_characters=256)


def test_other_names_for_the_model_and_for_voices() -> None:
    async def scenario(client: httpx.AsyncClient, app: FastAPI) -> None:
        asked = {"input": "one", "model": MODEL, "response_format": "pcm"}
        for voice in ("Ryan", "Choir", "Ryan+awb"):
            assert (await client.post("/v1/audio/speech", json={**asked, "voice": voice})).status_code == 200
        assert (await client.get(f"/v1/models/{MODEL}")).status_code == 200
        assert MODEL in {one["id"] for one in (await client.get("/v1/models")).json()["data"]}
        voices = (await client.get("/v1/audio/voices")).json()["voices"]
        assert {voice["id"] for voice in voices if VOICE in voice["aliases"]} == {"slt"}
        assert (await client.get("/v1/voices/Ryan")).json()["voice_id"] == "slt"
        spoken = await client.post("/v1/text-to-speech/Ryan", json={"text": "one", "model_id": MODEL})
        assert spoken.status_code == 200
        async with AsgiSocket(app, "nari.speech.v1") as socket:
            socket.say("request.start", model=MODEL, voice=VOICE, language="English")
            socket.say("input_text.append", sequence=0, text="one")
            socket.say("input_text.end", sequence=1)
            assert (await socket.hear("response.done"))[0] == word_pcm("one")

    over_http(scenario, **ALIASES)


def test_an_alias_of_nothing_keeps_the_server_from_starting() -> None:
    with pytest.raises(ConfigError, match=r"voice_aliases, Ryan=none: voice 'none'.*valid"):
        create_app(Settings(voice_aliases="Ryan=none"))
