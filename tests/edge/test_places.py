"""Who holds a place, for how long, and for whom some are kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from server.transport.token_bucket import TokenBucket
from tests.edge.toy import AsgiSocket, FakeClock, ToyEngine, serving, word_pcm

MULTI = "/v1/text-to-speech/rms/multi-stream-input"
SPEECH = {"input": "one", "response_format": "pcm"}
KEY = {"authorization": "Bearer one"}


def eleven(app: Any, **headers: str) -> AsgiSocket:
    return AsgiSocket(app, path=MULTI, query="output_format=pcm_24000", **headers)


def test_callers_without_a_key_leave_places_for_those_with_one() -> None:
    async def scenario() -> None:
        async with serving(max_connections=4, api_keys="one") as app:
            transport = httpx.ASGITransport(app)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://here") as client,
                eleven(app) as first,
                eleven(app),
                eleven(app) as third,
            ):
                told = await third.recv()
                assert isinstance(told, dict)
                assert told["error"] == "overloaded"
                assert "without an API key, the limit is 2" in told["message"]
                assert (await client.get("/v1/models")).status_code == 503
                assert (await client.post("/v1/audio/speech", json=SPEECH, headers=KEY)).content == word_pcm("one")
                # One that shows its key in a message is one of those with a key from then on.
                first.raw(text=json.dumps({"text": "hi ", "context_id": "a", "xi-api-key": "one"}))
                await first.recv()
                assert app.state.parlando.connection_limit.keyless == 1
            assert (app.state.parlando.connection_limit.taken, app.state.parlando.connection_limit.keyless) == (0, 0)

    asyncio.run(scenario())


def test_a_socket_that_shows_no_key_does_not_stay() -> None:
    async def scenario() -> None:
        async with serving(api_keys="one", body_timeout_s=0.05) as app, eleven(app) as socket:
            told = await socket.recv()
            assert isinstance(told, dict)
            assert told["error"] == "input_timeout_exceeded"
            closed = await socket.recv()
            assert isinstance(closed, dict)
            assert closed["type"] == "close"

    asyncio.run(scenario())


def test_contexts_without_text_end_and_the_others_go_on() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, idle_s=0.2) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("start", context="silent")
            socket.say("append", context="begun", text="one ")
            ended = set()
            while len(ended) < 2:
                socket.say("append", context="live", text="word ")  # many at a time: what it holds must not run out
                _, events = await socket.hear("error", "words")
                if events[-1]["type"] == "error":
                    assert events[-1]["code"] == "input_timeout"
                    assert "no text came for 0.2 s" in events[-1]["message"]
                    ended.add(events[-1]["context"])
                await asyncio.sleep(0.005)
            assert ended == {"silent", "begun"}
            socket.say("end", context="live")
            _, events = await socket.hear("done")
            assert events[-1]["context"] == "live"

    asyncio.run(scenario())


def test_contexts_of_elevenlabs_that_never_speak_end() -> None:
    async def scenario() -> None:
        async with (
            serving(idle_s=0.2) as app,
            AsgiSocket(app, path=MULTI, query="output_format=pcm_24000&inactivity_timeout=0.2") as socket,
        ):
            for name in ("blank", "begun"):
                socket.raw(text=json.dumps({"text": " " if name == "blank" else "one two ", "context_id": name}))

            async def keep_the_socket_alive() -> None:
                while True:
                    socket.raw(text=json.dumps({"text": ""}))  # of the socket's, not of theirs
                    await asyncio.sleep(0.02)

            keeping = asyncio.create_task(keep_the_socket_alive())
            finals = []
            while len(finals) < 2:
                told = await socket.recv()
                assert isinstance(told, dict)
                if told.get("isFinal"):
                    finals.append(told["contextId"])
            keeping.cancel()
            assert sorted(finals) == ["begun", "blank"]

    asyncio.run(scenario())


def test_a_rate_with_a_burst() -> None:
    clock = FakeClock()
    bucket = TokenBucket(10, 3, clock)
    assert [bucket.take() for _ in range(5)] == [0, 0, 0, 0.1, 0.2]
    clock.now += 0.5
    assert bucket.take() == 0
    clock.now += 1_000
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.1]
