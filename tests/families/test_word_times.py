"""No protocol tells word times of a model that has none: every form that can carry them, with the bundles of both
families whose models were not measured to know when a word is spoken. An interruption says so and guesses nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.edge.test_doors import CARTESIA, dial_path, realtime_say
from tests.edge.test_ws import dial, hear, say
from tests.families.served import SEED, TEXT, FamilyServer

ELEVEN = "/v1/text-to-speech/rms"


def test_no_word_has_a_time_over_http(server: FamilyServer) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        body = {"text": TEXT, "seed": SEED}
        whole = client.post(f"{ELEVEN}/with-timestamps?output_format=pcm_24000", json=body).json()
        streamed = client.post(f"{ELEVEN}/stream/with-timestamps?output_format=pcm_24000", json=body)
        told = [whole, *map(json.loads, streamed.text.splitlines())]
        assert len(told) > 2, "one object, and a line for each piece of audio"
        for one in told:
            assert base64.b64decode(one["audio_base64"])
            assert one["alignment"] is one["normalized_alignment"] is None
        sse = client.post("/tts/sse", json={**CARTESIA, "transcript": TEXT, "add_timestamps": True})
    assert sse.status_code == 200, sse.text
    kinds = {line.removeprefix("event: ") for line in sse.text.splitlines() if line.startswith("event: ")}
    assert kinds == {"chunk", "done"}


@pytest.mark.parametrize("path", ["stream-input", "multi-stream-input"])
@pytest.mark.parametrize("sync", ["true", "false"])
def test_no_character_has_a_time_on_elevenlabs_sockets(server: Any, path: str, sync: str) -> None:
    sound, several = 0, path.startswith("multi")
    name, closes = ({"context_id": "a"}, {"close_context": True}) if several else ({}, {"text": ""})
    with dial_path(server, f"{ELEVEN}/{path}?output_format=pcm_24000&sync_alignment={sync}") as socket:
        for message in ({"text": " "}, {"text": f"{TEXT} ", "flush": True}, closes):
            say(socket, **name, **message)
        for message in socket:
            told = json.loads(message)
            sound += bool(told.get("audio"))
            assert told.get("alignment") is told.get("normalizedAlignment") is None
            if told.get("isFinal"):
                break
    assert sound > 1


def test_no_word_has_a_time_on_sockets(server: Any) -> None:
    with dial(server) as socket:
        say(socket, type="start", words=True)
        say(socket, type="append", text=TEXT)
        say(socket, type="end")
        assert {event["type"] for event in hear(socket, "done")[1]} <= {"started", "waiting_for_text", "done"}
    with dial_path(server, "/tts/websocket") as socket:
        say(socket, **CARTESIA, context_id="a", transcript=TEXT, add_timestamps=True)
        assert {event["type"] for event in hear(socket, "done")[1]} == {"chunk", "done"}
    with dial_path(server, "/v1/audio/speech/stream") as socket:
        say(socket, type="session.config", word_timestamps=True)
        say(socket, type="input.text", text=TEXT)
        say(socket, type="input.done")
        chunks = [event for event in hear(socket, "audio.done")[1] if event["type"] == "audio.chunk"]
        assert len(chunks) > 1
        assert not any(chunk["timestamps"] for chunk in chunks)
    with dial_path(server, "/v1/realtime") as socket:
        realtime_say(socket, TEXT)
        events = hear(socket, "response.done")[1]
        deltas = [event["delta"] for event in events if event["type"] == "response.output_audio_transcript.delta"]
        assert deltas == [TEXT], "the transcript in one piece, once the audio is out"
        kinds = [event["type"] for event in events]
        last_sound = len(kinds) - 1 - kinds[::-1].index("response.output_audio.delta")
        assert kinds.index("response.output_audio_transcript.delta") > last_sound


UNKNOWN = {"text_spoken": "", "text_remaining": TEXT, "text_accuracy": "unknown"}


def test_an_interruption_does_not_guess_what_was_spoken(server: Any) -> None:
    def texts(told: dict[str, Any]) -> dict[str, Any]:
        return {name: told[name] for name in UNKNOWN}

    with dial(server) as socket:
        say(socket, type="append", text=TEXT)
        await_sound(socket)
        say(socket, type="cancel", played_ms=40)
        assert texts(hear(socket, "cancelled")[1][-1]) == UNKNOWN
    with dial_path(server, "/tts/websocket") as socket:
        say(socket, **CARTESIA, context_id="a", transcript=TEXT, **{"continue": True})
        await_sound(socket)
        say(socket, context_id="a", cancel=True, played_ms=40)
        assert texts(hear(socket, "done")[1][-1]) == UNKNOWN
    with dial_path(server, "/v2/speak") as socket:
        say(socket, type="Speak", text=TEXT)
        await_sound(socket)
        say(socket, type="Interrupt", playback_offset={"type": "time_ms", "value": 40})
        assert texts(hear(socket, "SpeechInterrupted")[1][-1]) == UNKNOWN
    with dial_path(server, "/v1/audio/speech/stream") as socket:
        say(socket, type="input.text", text=TEXT)
        await_sound(socket)
        say(socket, type="input.cancel")
        assert texts(hear(socket, "audio.cancelled")[1][-1]) == UNKNOWN
    with dial_path(server, "/v1/realtime") as socket:
        ear = realtime_say(socket, 8 * TEXT)  # it is not over by then
        ear.hear_out("response.output_item.added")
        item = ear.last["item"]["id"]
        ear.hear_out("response.output_audio.delta")
        say(socket, type="response.cancel")
        say(socket, type="conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=40)
        ear.hear_out("response.output_audio_transcript.done")
        assert ear.last["transcript"] == ""
        ear.hear_out("conversation.item.truncated")
        assert (ear.last["transcript"], ear.last["text_accuracy"]) == ("", "unknown")


def await_sound(socket: Any) -> None:
    """The first audio, bytes or in a message."""
    for message in socket:
        if isinstance(message, bytes) or json.loads(message)["type"] == "chunk":
            return
