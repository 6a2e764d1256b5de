"""A broken reply goes on at any sample: what was heard and what follows are the uninterrupted bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say
from tests.edge.toy import WORD_S, AsgiSocket, serving, word_pcm

TEXT = "The first half was heard, then the line broke. The rest comes from another server."
FLUSHES = [25]
OPTIONS = {"seed": 5, "speed": 1.2, "sample_rate": 16_000, "voice": "slt"}


def whole(socket: ClientConnection) -> tuple[bytes, str, str]:
    """The audio, what resumes it and what it is called."""
    say(socket, type="start", **OPTIONS)
    say(socket, type="append", text=TEXT[:25])
    say(socket, type="flush")
    say(socket, type="append", text=TEXT[25:])
    say(socket, type="end")
    pcm, events = hear(socket, "done")
    started = next(event for event in events if event["type"] == "started")
    return pcm, started["resume_id"], events[-1]["id"]


def resume(socket: ClientConnection, resume_id: str, from_sample: int) -> tuple[bytes, dict[str, Any]]:
    fields = {"text": TEXT, "flushes": FLUSHES, "resume_id": resume_id, "from_sample": from_sample}
    say(socket, type="resume", **OPTIONS, **fields)
    pcm, events = hear(socket, "done", "error")
    return pcm, events[-1]


def test_another_server_goes_on_at_any_sample(server: RunningServer) -> None:
    with dial(server) as socket:
        pcm, resume_id, name = whole(socket)
    samples = len(pcm) // 2
    with RunningServer() as other, dial(other) as socket:
        for from_sample in (0, 1, 7_777, samples - 1, samples):
            rest, done = resume(socket, resume_id, from_sample)
            assert pcm[: 2 * from_sample] + rest == pcm
            assert done["id"] == name
            assert done["audio_ms"] == pytest.approx(1000 * samples / 16_000, abs=0.1)
        _, error = resume(socket, resume_id, samples + 5)
        assert "5 samples behind the end" in error["message"]
        say(socket, type="resume", **{**OPTIONS, "seed": 6}, text=TEXT, resume_id=resume_id, from_sample=0)
        _, events = hear(socket, "error")
        assert events[-1]["code"] == "cannot_resume"
        assert other.stop() == 0


def test_http_goes_on_at_any_sample(client: httpx.Client) -> None:
    body = {"input": TEXT, "response_format": "pcm", "seed": 3}
    first = client.post("/v1/audio/speech", json=body)
    name = first.headers["x-utterance-id"]

    def go_on(asked: str, **fields: Any) -> httpx.Response:
        return client.post("/v1/audio/speech", json={**body, **fields}, headers={"x-resume": asked})

    for sample in (0, 5_000, len(first.content) // 2):
        rest = go_on(f"{name}; from_sample={sample}")
        assert rest.status_code == 200
        assert first.content[: 2 * sample] + rest.content == first.content
    assert go_on(f"{name}; from_sample=1", input="Another text.").status_code == 409
    assert go_on(f"{name}; from_sample=1", response_format="mp3").status_code == 400
    assert go_on(f"{name}; from_sample=1", seed=None).json()["error"]["param"] == "seed"
    assert go_on("the rest").status_code == 400


def test_text_may_still_come_and_positions_count_from_the_first_sample() -> None:
    async def scenario() -> None:
        async with serving() as app:
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("start", seed=1)
                _, events = await socket.hear("started")
                resume_id = events[-1]["resume_id"]
            async with AsgiSocket(app, "parlando.v1") as socket:
                fields = {"text": "one two ", "ended": False, "resume_id": resume_id, "from_sample": 3_600}
                socket.say("resume", seed=1, **fields)
                pcm, _ = await socket.hear("waiting_for_text")
                assert pcm == word_pcm("two")[2_400:]
                socket.say("append", text="three")
                socket.say("end")
                pcm, events = await socket.hear("done")
                assert pcm == word_pcm("three")
                assert events[-1]["audio_ms"] == 3 * 1000 * WORD_S
                for flushes in ([0], [3, 3], [99]):
                    socket.say("resume", seed=1, **{**fields, "flushes": flushes})
                    _, events = await socket.hear("error")
                    assert events[-1]["param"] == "flushes"

    asyncio.run(scenario())
