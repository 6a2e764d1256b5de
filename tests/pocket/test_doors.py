"""A random bundle of 6.9M through every protocol: the same audio however the text comes, what the model lacks is
refused by its name in the protocol's own words, and no word is given a time, since none was measured on this model."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.random_checkpoint import write_random
from models.exporting.pocket.export import export
from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_doors import CARTESIA, SPEECHES, Speech, dial_path, native, realtime_say
from tests.edge.test_ws import dial, hear, say

NAME = "english_7m_refl_2026-10"
TEXT = "Well, this is said. Then we go on, word by word, to the end."
ELEVEN = "/v1/text-to-speech/alba"
SEED = 5


class PocketServer(RunningServer):
    def __init__(self, bundle: Path) -> None:
        self.wyoming_port = free_port()
        doors = {"wyoming_port": str(self.wyoming_port), "voice_aliases": "rms=alba"}  # the doors' tests ask for rms
        super().__init__(port=None, bundle=str(bundle), slots="4", seed=str(SEED), **doors)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PocketServer]:
    folder = tmp_path_factory.mktemp("doors")
    write_random(folder / "checkpoint", releases.release(NAME), ("alba", "marius"))
    export(files.read(str(folder / "checkpoint"), ["alba", "marius"], NAME), folder / "bundle")
    with PocketServer(folder / "bundle") as running:
        yield running


@pytest.fixture(scope="module")
def wanted(server: PocketServer) -> bytes:
    pcm = native(server, TEXT).pcm  # type: ignore[arg-type]
    assert len(pcm) > 48_000
    return pcm


def parlando_speech(server: PocketServer, pieces: Sequence[str]) -> bytes:
    with dial(server) as socket:
        say(socket, type="start")
        for piece in pieces:
            say(socket, type="append", text=piece)
        say(socket, type="end")
        return hear(socket, "done")[0]


def nari_speech(server: PocketServer, pieces: Sequence[str]) -> bytes:
    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", voice="alba", seed=SEED)
        for number, piece in enumerate(pieces):
            say(socket, type="input_text.append", sequence=number, text=piece)
        say(socket, type="input_text.end", sequence=len(pieces))
        return hear(socket, "response.done")[0]


def eleven_speech(server: PocketServer, pieces: Sequence[str]) -> bytes:
    pcm = b""
    with dial_path(server, f"{ELEVEN}/stream-input?output_format=pcm_24000&seed={SEED}") as socket:  # type: ignore[arg-type]
        for piece in (" ", *pieces, ""):
            socket.send(json.dumps({"text": piece}))
        for message in socket:
            told = json.loads(message)
            pcm += base64.b64decode(told.get("audio") or "")
            if told.get("isFinal"):
                break
    return pcm


OWN: list[Any] = [parlando_speech, nari_speech, eleven_speech]


@pytest.mark.parametrize("speech", [*SPEECHES, *OWN])
def test_words_and_the_whole_text_are_the_same_audio(server: Any, wanted: bytes, speech: Speech) -> None:
    assert speech(server, [TEXT]) == wanted, "whole"
    words = [word + " " for word in TEXT.split(" ")]
    words[-1] = words[-1].rstrip()
    assert speech(server, words) == wanted, "word by word"


def test_http_is_the_same_audio(server: PocketServer, wanted: bytes) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        openai = {"input": TEXT, "voice": "alba", "response_format": "pcm"}
        assert client.post("/v1/audio/speech", json=openai).content == wanted
        assert client.post(f"{ELEVEN}?output_format=pcm_24000", json={"text": TEXT}).content == wanted
        assert client.post("/tts/bytes", json={**CARTESIA, "transcript": TEXT}).content == wanted
        deepgram = client.post("/v1/speak?encoding=linear16&container=none", json={"text": TEXT})
        assert deepgram.content == wanted


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/audio/speech", {"input": TEXT, "speed": 1.2}),
        (f"{ELEVEN}?output_format=pcm_24000", {"text": TEXT, "voice_settings": {"speed": 1.2}}),
        ("/tts/bytes", {**CARTESIA, "transcript": TEXT, "generation_config": {"speed": 1.2}}),
        ("/v1/speak?encoding=linear16&container=none&speed=1.2", {"text": TEXT}),
    ],
)
def test_speed_is_refused_over_http(server: PocketServer, path: str, body: dict[str, object]) -> None:
    answer = httpx.post(f"{server.url}{path}", json=body, timeout=60)
    assert answer.status_code == 400, answer.text
    assert "speed 1.2: this model has no speed" in answer.text


def told(socket: Any) -> str:
    """Until something names the speed, or the socket closes."""
    messages = list[str]()
    for message in socket:
        assert isinstance(message, str), "it speaks"
        messages.append(message)
        if "no speed" in message:
            return message
    return f"{messages} {socket.close_reason}"


def test_speed_is_refused_over_sockets(server: Any) -> None:
    says = "speed 1.2: this model has no speed"
    with dial(server) as socket:
        say(socket, type="start", speed=1.2)
        say(socket, type="append", text=TEXT)
        assert says in told(socket)
    with dial_path(server, f"{ELEVEN}/stream-input?output_format=pcm_24000") as socket:
        socket.send(json.dumps({"text": " ", "voice_settings": {"speed": 1.2}}))
        socket.send(json.dumps({"text": TEXT, "flush": True}))
        assert says in told(socket)
    with dial_path(server, "/tts/websocket") as socket:
        say(socket, **CARTESIA, context_id="a", transcript=TEXT, generation_config={"speed": 1.2})
        assert says in told(socket)
    for path in ("/v1/speak?speed=1.2", "/v2/speak?speed=1.2"):
        with dial_path(server, path) as socket:
            say(socket, type="Speak", text=TEXT)
            say(socket, type="Flush")
            assert says in told(socket), path
    with dial_path(server, "/v1/realtime") as socket:
        say(socket, type="session.update", session={"type": "realtime", "audio": {"output": {"speed": 1.2}}})
        realtime_say(socket, TEXT)
        assert says in told(socket)
    with dial_path(server, "/v1/audio/speech/stream") as socket:
        say(socket, type="session.config", speed=1.2)
        say(socket, type="input.text", text=TEXT)
        say(socket, type="input.done")
        assert says in told(socket)


# -- word times --------------------------------------------------------------------------------------------------------


def test_no_word_has_a_time_over_http(server: PocketServer) -> None:
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
        ear = realtime_say(socket, TEXT)
        ear.hear_out("response.output_item.added")
        item = ear.last["item"]["id"]
        ear.hear_out("response.output_audio.delta")
        say(socket, type="response.cancel")
        say(socket, type="conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=40)
        ear.hear_out("response.output_audio_transcript.done")
        assert ear.last["transcript"] == ""
        ear.hear_out("conversation.item.truncated")
        assert ear.last["transcript"] == ""


def await_sound(socket: Any) -> None:
    """The first audio, bytes or in a message."""
    for message in socket:
        if isinstance(message, bytes) or json.loads(message)["type"] == "chunk":
            return
