"""Cartesia's SDK: bytes, events, voices, and contexts on the WebSocket."""

from __future__ import annotations

from typing import Any

import pytest
from cartesia import BadRequestError, Cartesia, NotFoundError

from tests.clients.conftest import TEXT, Server, native

FORM = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
ASKED: dict[str, Any] = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "slt"}, "output_format": FORM}


@pytest.fixture
def client(server: Server) -> Cartesia:
    return Cartesia(api_key="any", base_url=server.url, websocket_base_url=f"ws://localhost:{server.port}")


def test_bytes(server: Server, client: Cartesia) -> None:
    assert b"".join(client.tts.generate(**ASKED, transcript=TEXT).iter_bytes()) == native(server, voice="slt")
    wav = {**ASKED, "output_format": {**FORM, "container": "wav"}}
    heard = b"".join(client.tts.generate(**wav, transcript=TEXT).iter_bytes())
    assert heard[:4] == b"RIFF"
    assert heard[44:] == native(server, voice="slt")


def test_errors_are_the_sdks(client: Cartesia) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.tts.generate(**{**ASKED, "voice": {"mode": "id", "id": "nemo"}}, transcript=TEXT)
    assert "nemo" in str(refused.value)
    with pytest.raises(NotFoundError) as missing:
        client.voices.get("nemo")
    assert isinstance(missing.value.body, dict)
    assert missing.value.body["error_code"] == "not_found"
    wrong: dict[str, Any] = {**ASKED, "voice": {"mode": "id", "id": "nemo"}}
    with client.tts.websocket_connect() as connection:
        context = connection.context(**wrong)
        context.push(TEXT)
        told = list(context.receive())[-1]
    assert told.type == "error"
    assert (told.done, told.status_code, told.error_code) == (True, 400, "unknown_voice")
    assert "nemo" in told.error


def test_events(server: Server, client: Cartesia) -> None:
    pcm, words = b"", []
    for event in client.tts.generate_sse(**ASKED, transcript=TEXT, add_timestamps=True):
        if event.type == "chunk":
            pcm += event.audio
        elif event.type == "timestamps":
            words += event.word_timestamps.words
    assert pcm == native(server, voice="slt")
    assert words == TEXT.split()


def test_a_context_word_by_word(server: Server, client: Cartesia) -> None:
    pcm, words = b"", []
    with client.tts.websocket_connect() as connection:
        context = connection.context(**ASKED, add_timestamps=True)
        for word in TEXT.split():
            context.push(word + " ")
        context.no_more_inputs()
        for event in context.receive():
            if event.type == "chunk":
                pcm += event.audio
            elif event.type == "timestamps":
                words += event.word_timestamps.words
        assert pcm == native(server, voice="slt")
        assert words == TEXT.split()
        stopped = connection.context(**ASKED)
        stopped.push(TEXT)
        stopped.cancel()
        assert [event.type for event in stopped.receive()][-1] == "done"


def test_voices(client: Cartesia) -> None:
    assert [voice.id for voice in client.voices.list(limit=3)] == ["rms", "slt", "awb", "kal16"]
    assert client.voices.get("slt").id == "slt"
