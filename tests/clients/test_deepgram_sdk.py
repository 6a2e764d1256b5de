"""Deepgram's SDK: HTTP, both WebSockets, and an interruption that tells what was spoken."""

from __future__ import annotations

from typing import Any

import pytest
from deepgram import DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.speak.v1.types import SpeakV1Text
from deepgram.speak.v2.types import SpeakV2Interrupt, SpeakV2InterruptPlaybackOffset, SpeakV2Speak

from tests.clients.conftest import TEXT, Server, native


@pytest.fixture
def client(server: Server) -> DeepgramClient:
    ws_url = f"ws://localhost:{server.port}"
    places = DeepgramClientEnvironment(base=server.url, production=ws_url, agent=ws_url, agent_rest=server.url)
    return DeepgramClient(api_key="any", environment=places)


def received(socket: Any, last: str) -> tuple[bytes, list[Any]]:
    pcm, events = b"", []
    while True:
        message = socket.recv()
        if isinstance(message, bytes):
            pcm += message
            continue
        events.append(message)
        if message.type == last:
            return pcm, events


def test_http(server: Server, client: DeepgramClient) -> None:
    asked = {"text": TEXT, "model": "aura-2-thalia-en", "encoding": "linear16", "sample_rate": 24_000}
    assert b"".join(client.speak.v1.audio.generate(**asked, container="none")) == native(server)
    assert b"".join(client.speak.v1.audio.generate(**asked))[44:] == native(server)
    assert b"".join(client.speak.v1.audio.generate(text=TEXT)).startswith(b"\xff")  # MP3, its default


def test_http_errors_are_the_sdks(client: DeepgramClient) -> None:
    with pytest.raises(ApiError) as refused:
        list(client.speak.v1.audio.generate(text=TEXT, model="nemo"))
    assert refused.value.status_code == 400
    assert refused.value.body["err_code"] == "UNKNOWN_VOICE"


def test_v1_word_by_word(server: Server, client: DeepgramClient) -> None:
    with client.speak.v1.connect(model="aura-2-slt-en", encoding="linear16", sample_rate="24000") as socket:
        for word in TEXT.split():
            socket.send_text(SpeakV1Text(text=word + " "))
        socket.send_flush()
        pcm, events = received(socket, "Flushed")
        assert pcm == native(server, voice="slt")
        assert events[0].type == "Metadata"
        assert events[-1].sequence_id == 0
        socket.send_text(SpeakV1Text(text=TEXT))
        socket.send_clear()
        received(socket, "Cleared")
        socket.send_close()


def test_v2_turns_and_an_interruption(server: Server, client: DeepgramClient) -> None:
    with client.speak.v2.connect(model="flux-alexis-en", encoding="linear16", sample_rate="24000") as socket:
        for word in TEXT.split():
            socket.send_speak(SpeakV2Speak(text=word + " "))
        socket.send_flush()
        pcm, events = received(socket, "Flushed")
        assert pcm == native(server)
        assert [event.type for event in events] == ["Connected", "SpeechStarted", "SpeechMetadata", "Flushed"]
        played_ms = len(pcm) // 96  # half of it
        offset = SpeakV2InterruptPlaybackOffset(value=played_ms)
        socket.send_interrupt(SpeakV2Interrupt(playback_offset=offset))
        _, events = received(socket, "SpeechInterrupted")
        told = events[-1]
        assert told.audio_played_ms == played_ms
        assert (told.text_spoken + told.text_remaining).split() == TEXT.split()
        assert 0 < len(told.text_spoken.split()) < len(TEXT.split())
        socket.send_close()
        received(socket, "SessionMetadata")
