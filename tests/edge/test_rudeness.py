"""Clients that ask for too much, and faults of ours: each is answered in its dialect, and nothing is held for it."""

from __future__ import annotations

import asyncio
import base64
import json
from socket import create_connection
from typing import Any

import httpx
import pytest
from starlette.types import Message

from engines.families.common.voice_mix import ChosenVoice
from engines.messages import Append, Failed, Flush, Started, Submit
from server.protocols.openai import route
from server.speech.utterance import Utterance
from server.state import State
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say
from tests.edge.toy import AsgiSocket, ToyEngine, serving, word_pcm
from tests.edge.toy_server import heard

SPEECH = {"input": "one", "response_format": "pcm"}
MULTI = "/v1/text-to-speech/rms/multi-stream-input"


def http(app: Any, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers)


@pytest.mark.parametrize("message", [{"context_id": "\ud800"}, {"context_id": "a", "xi-api-key": "\ud800"}])
def test_halves_of_surrogate_pairs_are_no_names(message: dict[str, str]) -> None:
    """JSON can carry them, but no answer could."""

    async def scenario() -> None:
        async with (
            serving(api_keys="one") as app,
            AsgiSocket(app, path=MULTI, query="output_format=pcm_24000") as socket,
        ):
            socket.raw(text=json.dumps({"text": "hi ", **message}))
            told = await socket.recv()
            assert isinstance(told, dict)
            assert told["error"] == "invalid_parameter"
            assert "surrogate pair" in told["message"]
            socket.raw(text=json.dumps({"text": "hi ", "context_id": "b", "xi-api-key": "one"}))
            told = await socket.recv()
            assert isinstance(told, dict)
            assert base64.b64decode(told["audio"]) == word_pcm("hi")

    asyncio.run(scenario())


def open_utterance(state: State) -> Utterance:
    return Utterance(
        state,
        protocol="test",
        chosen_voice=ChosenVoice(voice="rms"),
        seed=1,
        speed=1.0,
        rate_hz=24_000,
        temperature=None,
    )


def test_flushes_and_appends_that_say_nothing_are_not_kept() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy) as app:
            state: State = app.state.parlando

            rude, polite = open_utterance(state), open_utterance(state)
            sent: list[object] = []
            (engine,) = state.engine.clients
            forward = engine.send
            engine.send = lambda command: (sent.append(command), forward(command))[1]  # type: ignore[method-assign]
            for _ in range(1_000):
                rude.append("", 0.0)
                rude.flush()
            assert sent == []
            for utterance in (rude, polite):
                utterance.append("one ", 0.0)
                utterance.flush()
            for _ in range(1_000):
                rude.flush()
            assert [type(command) for command in sent] == 2 * [Submit, Append, Flush]
            for utterance in (rude, polite):
                utterance.append("two", 0.0)
                utterance.end()
            assert rude.utterance_id == polite.utterance_id
            for utterance in (rude, polite):
                utterance.close()

    asyncio.run(scenario())


def test_a_submit_travels_with_its_text_or_soon_alone() -> None:
    async def scenario() -> None:
        async with serving() as app:
            state: State = app.state.parlando
            sent: list[object] = []
            (engine,) = state.engine.clients
            forward = engine.send
            engine.send = lambda command: (sent.append(command), forward(command))[1]  # type: ignore[method-assign]
            speaking, silent, lost = open_utterance(state), open_utterance(state), open_utterance(state)
            assert sent == []
            lost._stream._stream.put(Failed(request_id=lost.id, code="engine_lost", message="", retry_after_s=1))
            speaking.append("one ", 0.0)
            assert [(type(command), command.request_id) for command in sent] == [  # type: ignore[attr-defined]
                (Submit, speaking.id),
                (Append, speaking.id),
            ]
            async with asyncio.timeout(10):
                while len(sent) < 3:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            assert [type(command) for command in sent[2:]] == [Submit], "nothing for a stream that has ended"
            assert sent[2].request_id == silent.id  # type: ignore[attr-defined]
            silent.append("two ", 0.0)
            assert [type(command) for command in sent[3:]] == [Append]
            for utterance in (speaking, silent, lost):
                utterance.close()

    asyncio.run(scenario())


def test_the_end_of_a_text_may_meet_the_deadline() -> None:
    """In one turn of the event loop: the deadline has struck, and its task has not run yet."""

    async def scenario() -> None:
        async with serving() as app:
            state: State = app.state.parlando
            loop, faults = asyncio.get_running_loop(), list[object]()
            loop.set_exception_handler(lambda loop, context: faults.append(context))
            utterance = open_utterance(state)
            assert isinstance(await utterance.next(), Started)
            hearing = asyncio.ensure_future(utterance.next())
            while not (deadlines := utterance._deadlines).is_awaited:
                await asyncio.sleep(0)
            deadlines._total = loop.time() - 1
            deadlines._set_timer()
            loop.call_soon(utterance.end)
            event = await hearing
            assert isinstance(event, Failed)
            assert event.code == "deadline_exceeded"
            assert faults == []
            utterance.close()

    asyncio.run(scenario())


def test_those_beyond_the_limit_of_connections_are_told_when_to_come_back() -> None:
    async def scenario() -> None:
        async with serving(max_connections=1) as app, http(app) as client:
            async with AsgiSocket(app, "parlando.v1") as first:
                first.say("append", text="one ")
                await first.hear("waiting_for_text")
                refused = await client.post("/v1/audio/speech", json=SPEECH)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["error"]["code"] == "overloaded"
                assert "the limit is 1" in refused.json()["error"]["message"]
                refused = await client.post("/v1/text-to-speech/rms", json={"text": "one"})
                assert (refused.status_code, refused.json()["detail"]["status"]) == (503, "system_busy")
                async with AsgiSocket(app, "parlando.v1") as second:
                    _, events = await second.hear("close")
                    assert [event.get("code") for event in events] == ["overloaded", 1013]
                    assert events[0]["retry_after_s"] == 1
                for path in ("/health", "/ready", "/metrics"):
                    assert (await client.get(path)).status_code == 200
                first.say("end")
                await first.hear("done")
            spoken = await client.post("/v1/audio/speech", json=SPEECH)
            assert spoken.content == word_pcm("one")
            assert app.state.parlando.connection_limit.taken == 0

    asyncio.run(scenario())


def test_a_fault_of_ours_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*asked: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(route, "_open", broken)

    async def scenario() -> None:
        async with serving() as app, http(app) as client:
            answer = await client.post("/v1/audio/speech", json=SPEECH)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["type"]) == (500, "internal_error", "server_error")
            assert "secret" not in answer.text
            assert answer.headers["x-request-id"]

    asyncio.run(scenario())


def test_one_json_object_is_written_as_the_audio_comes() -> None:
    words = [f"w{number}" for number in range(300)]

    async def scenario() -> None:
        async with serving() as app:
            pieces: list[bytes] = []
            asked: asyncio.Queue[Message] = asyncio.Queue()
            asked.put_nowait({"type": "http.request", "body": json.dumps({"text": " ".join(words)}).encode()})

            async def take(message: Message) -> None:
                pieces.append(message.get("body", b""))

            scope = {
                "type": "http", "method": "POST", "path": "/v1/text-to-speech/rms/with-timestamps", "headers": [],
                "query_string": b"output_format=pcm_24000", "http_version": "1.1",
            }  # fmt: skip
            await app(scope, asked.get, take)
            assert max(map(len, pieces)) < sum(map(len, pieces)) / 10
            told = json.loads(b"".join(pieces))
            assert base64.b64decode(told["audio_base64"], validate=True) == b"".join(map(word_pcm, words))
            assert "".join(told["alignment"]["characters"]) == " ".join(words)
            assert told["normalized_alignment"] == told["alignment"]

    asyncio.run(scenario())


@pytest.mark.parametrize("sent_head", [b"", b"POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\n"])
def test_who_connects_and_never_asks_is_dropped(sent_head: bytes) -> None:
    with RunningServer(body_timeout_s="0.5") as server:
        with create_connection(("127.0.0.1", server.port), timeout=10) as silent, dial(server) as speaking:
            silent.sendall(sent_head)
            told = heard(silent)
            assert told == b"" if not sent_head else told.startswith(b"HTTP/1.1 408 ") and b"within 0.5 s" in told
            say(speaking, type="append", text="A socket is not a silent connection.")
            say(speaking, type="end")
            hear(speaking, "done")
        assert server.stop() == 0
