"""`parlando serve` with a tiny bundle: every protocol speaks it, words in pieces are words at once, and what the model
cannot do is refused or left out."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from engines.families.qwen3_tts.bundle import Bundle
from tests.edge.conftest import RunningServer, await_idle
from tests.edge.test_ws import dial, hear, say

TEXT = "Hello world, the quick brown fox speaks. Good morning everyone!"


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    running = RunningServer(bundle=str(bundle.folder), slots="6")
    yield running
    running.stop()


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def _spoken(client: httpx.Client, **asked: object) -> bytes:
    body = {"input": TEXT, "voice": "serena", "seed": 7, "response_format": "pcm", **asked}
    answer = client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_openai(client: httpx.Client) -> None:
    whole = _spoken(client)
    assert len(whole) > 24_000
    assert whole == _spoken(client)
    assert whole != _spoken(client, seed=8)
    assert whole != _spoken(client, voice="aiden")
    assert whole == _spoken(client, language="auto")
    french = _spoken(client, language="fr")
    assert french == _spoken(client, language="French")
    assert len({whole, french, _spoken(client, instructions="speak in a deep voice")}) == 3
    assert len(_spoken(client, sample_rate=8000)) == len(whole) // 3
    assert len(_spoken(client, sample_rate=44_100)) == pytest.approx(len(whole) * 44.1 / 24, abs=200)
    assert len(_spoken(client, speed=1.25)) == pytest.approx(len(whole) / 1.25, rel=0.01)
    for form in ("wav", "mp3", "opus", "flac", "aac"):
        assert _spoken(client, response_format=form)
    assert "serena" in client.get("/v1/audio/voices").text


def test_words_one_by_one_are_the_text_at_once(server: RunningServer, client: httpx.Client) -> None:
    whole = _spoken(client)
    with dial(server) as socket:
        say(socket, type="start", seed=7, voice="serena")
        for word in TEXT.split():
            say(socket, type="append", text=word + " ")
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    assert pcm == whole
    assert events[-1]["ttfa_ms"] > 0
    assert not [event for event in events if event["type"] == "words"]


def test_a_cancel_says_where_it_was(server: RunningServer, client: httpx.Client) -> None:
    with dial(server) as socket:
        say(socket, type="start", seed=7, voice="serena")
        say(socket, type="append", text=TEXT * 4)
        while not isinstance(socket.recv(timeout=20), bytes):
            pass
        say(socket, type="cancel")
        _, events = hear(socket, "cancelled")
    told = events[-1]
    assert (told["text_accuracy"], told["text_spoken"], told["text_remaining"]) == ("unknown", "", TEXT * 4)
    assert told["audio_ms"] > 0
    await_idle(client)


def test_elevenlabs_has_no_alignment_where_no_time_is_known(client: httpx.Client) -> None:
    answer = client.post("/v1/text-to-speech/serena/with-timestamps", json={"text": "Hello world.", "seed": 7})
    assert answer.status_code == 200
    assert answer.json()["alignment"] is None
    assert answer.json()["audio_base64"]


def test_nari(server: RunningServer, client: httpx.Client) -> None:
    from websockets.sync.client import connect

    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", model="default", voice="serena", language="English", response_format="pcm")
        say(socket, type="input_text.append", sequence=0, text="Hello ")
        say(socket, type="input_text.append", sequence=1, text="world.")
        say(socket, type="input_text.end", sequence=2)
        pcm, events = hear(socket, "response.done")
    assert pcm
    assert events[-1]["stop_reason"] == "stop"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"voice": "nobody"}, "nobody"),
        ({"pitch_semitones": 3}, "pitch_semitones is not an option"),
        ({"input": "  "}, "input"),
    ],
)
def test_unsupported_requests_are_refused_by_name(
    client: httpx.Client, asked: dict[str, object], expected: str
) -> None:
    answer = client.post("/v1/audio/speech", json={"input": TEXT, "voice": "serena", **asked})
    assert answer.status_code in (400, 404, 422)
    assert expected in answer.text
