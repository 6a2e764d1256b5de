"""HTTP answers over a toy engine: the clock, faults on the way, clients that leave, dialects of early refusals."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from tests.edge.toy import FakeClock, ToyEngine, serving, word_pcm

ELEVEN = "/v1/text-to-speech/rms"
HALF = b'{"input": "\\ud800 x", "text": "\\ud800 x"}'  # of a surrogate pair
PCM: dict[str, Any] = {"response_format": "pcm"}


class Exchange:
    """A client's side of one POST. It reads `reads` messages and then no more, until it leaves."""

    def __init__(self, app: FastAPI, path: str, body: object, reads: int = 1_000) -> None:
        self._app, self._reads = app, reads
        self._scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": b"output_format=pcm_24000", "headers": [(b"host", b"here")],
            "client": ("test", 1), "server": ("here", 80), "state": {},
        }  # fmt: skip
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._to_app.put_nowait({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})
        self.heard: list[Message] = []
        self.stuck = asyncio.Event()

    async def run(self) -> None:
        await asyncio.wait_for(self._app(self._scope, self._to_app.get, self._take), 10)

    def leave(self) -> None:
        self._to_app.put_nowait({"type": "http.disconnect"})

    async def _take(self, message: Any) -> None:
        if len(self.heard) >= self._reads:
            self.stuck.set()
            await asyncio.Event().wait()
        self.heard.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)

    @property
    def complete(self) -> bool:
        return self.heard[-1]["type"] == "http.response.body" and not self.heard[-1].get("more_body", False)


@pytest.mark.parametrize(("path", "protocol"), [("/v1/audio/speech", "openai"), (ELEVEN, "elevenlabs")])
def test_the_clock_of_a_request_starts_with_its_first_bytes(path: str, protocol: str) -> None:
    async def scenario() -> None:
        clock = FakeClock()

        def half_a_second() -> None:
            clock.now += 0.5

        async with serving(ToyEngine(half_a_second), clock) as app:
            before = clock.now
            exchange = Exchange(app, path, {"input": "word", "text": "word", **PCM})
            await exchange.run()
            assert clock.now == before + 0.5
            registry = app.state.parlando.metrics.registry
            labels = {"protocol": protocol}
            assert registry.get_sample_value("tts_time_to_first_audio_seconds_sum", labels) == 0.5

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/audio/speech", ELEVEN, f"{ELEVEN}/stream/with-timestamps"])
@pytest.mark.parametrize("reads", [1, 3])
def test_a_client_that_leaves_frees_its_stream(path: str, reads: int) -> None:
    """Also one that has stopped reading before. `serving` counts what is left behind."""

    async def scenario() -> None:
        async with serving(outbox_chunks=4) as app:
            text = "word " * 200
            exchange = Exchange(app, path, {"input": text, "text": text, **PCM}, reads)
            running = asyncio.ensure_future(exchange.run())
            await asyncio.wait_for(exchange.stuck.wait(), 10)
            assert app.state.parlando.live
            exchange.leave()
            await running
            assert not app.state.parlando.live
            assert not exchange.complete

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/audio/speech", ELEVEN, f"{ELEVEN}/stream/with-timestamps"])
def test_a_reader_that_does_not_read_is_given_up(path: str) -> None:
    async def scenario() -> None:
        async with serving(send_timeout_s=0.05) as app:
            text = "word " * 200
            exchange = Exchange(app, path, {"input": text, "text": text, **PCM}, 2)
            await exchange.run()
            assert not exchange.complete
            assert not app.state.parlando.live

    asyncio.run(scenario())


def test_a_fault_on_the_way_cuts_bytes_and_is_told_in_events() -> None:
    async def scenario() -> None:
        async with serving() as app:
            cut = Exchange(app, "/v1/audio/speech", {"input": "one FAULT ", **PCM})
            await cut.run()
            assert cut.body == word_pcm("one")
            assert not cut.complete
            told = Exchange(app, "/v1/audio/speech", {"input": "one FAULT ", **PCM, "stream_format": "sse"})
            await told.run()
            events = [json.loads(line[6:]) for line in told.body.decode().split("\n\n") if line]
            assert base64.b64decode(events[0]["audio"]) == word_pcm("one")
            assert (events[-1]["type"], events[-1]["error"]["code"]) == ("speech.audio.error", "engine_fault")
            assert told.complete

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/audio/speech", ELEVEN])
def test_a_body_that_is_too_big_is_refused_in_the_words_of_its_dialect(path: str) -> None:
    async def scenario() -> None:
        transport = httpx.ASGITransport
        async with serving(max_body_bytes=1_024) as app:
            async with httpx.AsyncClient(transport=transport(app), base_url="http://here") as client:
                answer = await client.post(path, json={"input": "x" * 2_000})
            assert answer.status_code == 413
            told = answer.json()
            assert "1024" in (told["detail"] if path == ELEVEN else told["error"])["message"]
            assert answer.headers["x-request-id"]
            labels = {"code": "body_too_big"}
            assert app.state.parlando.metrics.registry.get_sample_value("tts_refusals_total", labels) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/audio/speech", ELEVEN])
@pytest.mark.parametrize("body", [b"[" * 3_000, b"\xff\xfe", b"", b"nan", b'{"input": 1e999, "text": 1e999}', HALF])
def test_rubbish_is_no_fault_of_ours(path: str, body: bytes) -> None:
    async def scenario() -> None:
        transport = httpx.ASGITransport
        async with serving() as app, httpx.AsyncClient(transport=transport(app), base_url="http://here") as client:
            assert (await client.post(path, content=body)).status_code in (400, 422)

    asyncio.run(scenario())
