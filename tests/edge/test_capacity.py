"""What a full server says: in `/v1/capacity`, in the gauges, and in every protocol's own words to who is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.edge.toy import AsgiSocket, ToyEngine, serving

ELEVEN = "/v1/text-to-speech/rms"


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


def test_capacity_counts_down_and_is_in_the_gauges() -> None:
    async def scenario() -> None:
        async with serving() as app, client_of(app) as client:
            before = (await client.get("/v1/capacity")).json()
            assert before == {
                "streams_left": 3,
                "streams_running": 0,
                "streams_capacity": 3,
                "predicted_ttfa_ms": 40.0,
            }
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("append", text="one ")
                await socket.hear("waiting_for_text")
                assert (await client.get("/v1/capacity")).json()["streams_left"] == 2
            figures = (await client.get("/metrics")).text
            for line in ("tts_capacity_streams 3.0", "tts_capacity_streams_left", "tts_predicted_first_audio_seconds"):
                assert line in figures
            assert 'tts_batch_size_bucket{le="2"} 6.0' in figures
            assert 'tts_batch_size_bucket{le="+Inf"} 8.0' in figures
            assert 'tts_engine_step_seconds_bucket{le="0.01",stage="lm"} 7.0' in figures
            assert 'tts_engine_step_seconds_sum{stage="lm"} 0.02' in figures
            assert "tts_spec_draft_tokens_total 0.0" in figures

    asyncio.run(scenario())


def test_who_drains_has_no_capacity() -> None:
    async def scenario() -> None:
        async with serving() as app, client_of(app) as client:
            await app.state.parlando.drain()
            answer = await client.get("/v1/capacity")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/audio/speech", {"input": "word"}, "overloaded"),
        ("/v1/audio/speech", {"input": "word", "stream_format": "sse"}, "overloaded"),
        (ELEVEN, {"text": "word"}, "system_busy"),
        (f"{ELEVEN}/stream/with-timestamps", {"text": "word"}, "system_busy"),
    ],
)
def test_a_full_server_answers_503_with_retry_after(path: str, body: dict[str, Any], code: str) -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy) as app, client_of(app) as client:
            toy.full = True
            answer = await client.post(path, json=body)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            told = answer.json()
            assert (told.get("error") or told["detail"]).get("code", told.get("detail", {}).get("status")) == code
            assert answer.headers["x-request-id"]
            labels = {"protocol": "openai" if "audio" in path else "elevenlabs", "outcome": "shed"}
            assert app.state.parlando.metrics.registry.get_sample_value("tts_requests_total", labels) == 1

    asyncio.run(scenario())


def test_a_quota_is_429_with_retry_after() -> None:
    async def scenario() -> None:
        async with (
            serving(api_keys="one", key_streams=1) as app,
            client_of(app) as client,
            AsgiSocket(app, "parlando.v1", authorization="Bearer one") as socket,
        ):
            socket.say("append", text="one ")
            await socket.hear("waiting_for_text")
            for path, body in (("/v1/audio/speech", {"input": "word"}), (ELEVEN, {"text": "word"})):
                answer = await client.post(path, json=body, headers={"xi-api-key": "one"})
                assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("subprotocols", "path", "messages"),
    [
        (["parlando.v1"], "/v1/audio/speech/ws", [{"type": "append", "text": "word"}]),
        (
            ["nari.speech.v1"],
            "/v1/audio/speech/ws",
            [{"type": "request.start"}, {"type": "input_text.append", "sequence": 0, "text": "word"}],
        ),
        ([], f"{ELEVEN}/stream-input", [{"text": "word "}]),
        ([], f"{ELEVEN}/multi-stream-input", [{"text": "word ", "context_id": "a"}]),
    ],
)
def test_a_full_server_says_so_on_a_socket_and_closes_with_1013(
    subprotocols: list[str], path: str, messages: list[dict[str, Any]]
) -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy) as app, AsgiSocket(app, *subprotocols, path=path) as socket:
            toy.full = True
            for message in messages:
                socket.raw(text=json.dumps(message))
            told: list[Any] = []
            while not told or told[-1].get("type") != "close":
                told.append(await socket.recv())
            error = told[-2]["error"] if isinstance(told[-2].get("error"), dict) else told[-2]
            assert "overloaded" in (error.get("code"), error.get("error"))
            assert told[-1]["code"] == 1013

    asyncio.run(scenario())


@pytest.mark.parametrize("dialect", ["parlando", "elevenlabs"])
def test_who_speaks_on_a_socket_goes_on_when_another_context_is_refused(dialect: str) -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        path = "/v1/audio/speech/ws" if dialect == "parlando" else f"{ELEVEN}/multi-stream-input"

        def append(socket: AsgiSocket, context: str, text: str) -> None:
            if dialect == "parlando":
                socket.say("append", context=context, text=text)
            else:
                socket.raw(text=json.dumps({"text": text, "context_id": context}))

        async with serving(toy) as app, AsgiSocket(app, path=path) as socket:
            append(socket, "live", "one ")
            while isinstance(message := await socket.recv(), bytes) or not (
                message.get("type") == "words" or isinstance(message.get("audio"), str)
            ):
                pass
            toy.full = True
            append(socket, "late", "two ")
            while isinstance(told := await socket.recv(), bytes) or not (
                told.get("error") or told.get("type") == "error"
            ):
                pass
            assert "late" in (told.get("context"), told.get("contextId"))
            append(socket, "live", "three ")
            while isinstance(message := await socket.recv(), bytes) or "live" not in (
                message.get("context"),
                message.get("contextId"),
            ):
                assert isinstance(message, bytes) or message.get("type") != "close"

    asyncio.run(scenario())
