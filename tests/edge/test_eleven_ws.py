"""ElevenLabs' WebSockets on a running server: the native audio, times, graceful closes, clients' habits."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from server.audio.formats import ELEVEN_FORMATS
from tests.audio.signals import decoded, delay
from tests.edge.conftest import RunningServer, await_idle

TEXT = "Words come one by one, and each of them is heard."
OPENING = {"text": " ", "voice_settings": {"stability": 0.5}, "generation_config": {"chunk_length_schedule": [50]}}


def dial(server: RunningServer, kind: str, headers: dict[str, str] | None = None, **query: object) -> ClientConnection:
    asked = urlencode({"output_format": "pcm_24000", "seed": 4, "model_id": "eleven_flash_v2_5", **query})
    url = f"ws://127.0.0.1:{server.port}/v1/text-to-speech/rms/{kind}?{asked}"
    return connect(url, additional_headers=headers, compression=None)


def multi(server: RunningServer, **query: object) -> ClientConnection:
    return dial(server, "multi-stream-input", **query)


def say(socket: ClientConnection, context: str | None = None, **message: object) -> None:
    socket.send(json.dumps(message if context is None else {**message, "context_id": context}))


def hear(socket: ClientConnection, *finals: str) -> dict[str, list[dict[str, Any]]]:
    """Messages by context until `isFinal` of all these."""
    heard: dict[str, list[dict[str, Any]]] = {}
    waiting = set(finals)
    while waiting:
        message = json.loads(socket.recv(timeout=20))
        assert message.get("contextId") == message.get("context_id")
        name = message.get("contextId") or ""
        heard.setdefault(name, []).append(message)
        if message.get("isFinal"):
            waiting.discard(name)
    return heard


def audio(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["audio"]) for message in messages if message.get("audio"))


def times(messages: list[dict[str, Any]], *, absolute: bool = False) -> list[tuple[str, int, int]]:
    """(character, start, end) in ms, by adding up the spans as clients do."""
    found, now = [], 0
    for message in messages:
        alignment = message.get("alignment")
        assert alignment == message.get("normalizedAlignment")
        if not alignment:
            continue
        zero = 0 if absolute else now
        for char, start, length in zip(*(alignment[key] for key in ("chars", "charStartTimesMs", "charDurationsMs"))):
            assert start >= 0
            found.append((char, zero + start, zero + start + length))
        now = found[-1][2]
    return found


def native(client: httpx.Client, text: str = TEXT, rate_hz: int = 24_000, **body: object) -> bytes:
    given = {"input": text, "seed": 4, "voice": "rms", "response_format": "pcm", "sample_rate": rate_hz, **body}
    return client.post("/v1/audio/speech", json=given).content


def speak_words(socket: ClientConnection, context: str | None = None, text: str = TEXT) -> None:
    for word in text.split():
        say(socket, context, text=word + " ", try_trigger_generation=True)


@pytest.mark.parametrize("form", ["pcm_24000", "pcm_22050", "pcm_8000"])
def test_single_is_the_native_audio_and_closes(server: RunningServer, client: httpx.Client, form: str) -> None:
    with dial(server, "stream-input", output_format=form) as socket:
        say(socket, **OPENING)
        speak_words(socket)
        say(socket, text="")
        messages = hear(socket, "")[""]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    assert audio(messages) == native(client, rate_hz=ELEVEN_FORMATS[form].rate_hz)
    assert "contextId" not in messages[0]


@pytest.mark.parametrize("form", ["mp3_44100_128", "mp3_22050_32", "opus_48000_32"])
def test_single_compressed(server: RunningServer, client: httpx.Client, form: str) -> None:
    with dial(server, "stream-input", output_format=form) as socket:
        say(socket, text=TEXT)
        say(socket, text="")
        data = audio(hear(socket, "")[""])
    heard, rate_hz = decoded(data)
    wanted = np.frombuffer(native(client, rate_hz=rate_hz), "<i2").astype(np.float64)
    heard = heard[delay(heard, wanted) :][: len(wanted)]
    assert np.corrcoef(heard, wanted)[0, 1] > 0.97


@pytest.mark.parametrize("absolute", [False, True])
def test_times_add_up_to_those_over_http(server: RunningServer, client: httpx.Client, absolute: bool) -> None:
    with multi(server, sync_alignment=str(absolute).lower()) as socket:
        say(socket, "a", **OPENING)
        speak_words(socket, "a")
        say(socket, "a", text="", flush=True)
        say(socket, "a", close_context=True)
        found = times(hear(socket, "a")["a"], absolute=absolute)
    body = {"text": TEXT, "seed": 4}
    whole = client.post("/v1/text-to-speech/rms/with-timestamps?output_format=pcm_24000", json=body).json()["alignment"]
    assert [char for char, _, _ in found] == [*whole["characters"], " "]
    starts = [round(1000 * start_s) for start_s in whole["character_start_times_seconds"]]
    # `flush` may put the last word's end elsewhere; all before it is the same speech
    same = len(TEXT) - 8
    assert [start for _, start, _ in found][:same] == starts[:same]


def test_many_contexts_at_once(server: RunningServer, client: httpx.Client) -> None:
    names = [f"context-{number}" for number in range(12)]
    with multi(server) as socket:
        for name in names:
            say(socket, name, **OPENING)
        for word in TEXT.split():
            for name in names:
                say(socket, name, text=word + " ")
        for name in names:
            say(socket, name, close_context=True, flush=True)
        heard = hear(socket, *names)
    spoken = {audio(heard[name]) for name in names}
    assert len(spoken) == 1
    assert len(spoken.pop()) > 24_000


def test_close_after_flush_is_graceful(server: RunningServer) -> None:
    """LiveKit's normal end: everything flushed is heard."""
    with multi(server) as socket:
        say(socket, "a", **OPENING)
        say(socket, "a", text=TEXT + " ", flush=True)
        say(socket, "a", text="", flush=True)
        say(socket, "a", close_context=True)
        messages = hear(socket, "a")["a"]
    assert "".join(char for char, _, _ in times(messages)) == TEXT + " "


def test_close_drops_what_was_not_flushed(server: RunningServer) -> None:
    """Pipecat's interruption: text behind the last flush is not spoken."""
    with multi(server) as socket:
        say(socket, "a", text="The first part is flushed. ", flush=True)
        say(socket, "a", text="The second part goes on and on and is not. " * 20)
        say(socket, "a", close_context=True)
        messages = hear(socket, "a")["a"]
        spoken = "".join(char for char, _, _ in times(messages))
        assert spoken.strip() == "The first part is flushed."
        end_s = times(messages)[-1][2] / 1000
        assert len(audio(messages)) / 48_000 == pytest.approx(end_s, abs=0.002)
        say(socket, "b", text="Nothing of this was flushed, so nothing needs to be heard to its end. " * 20)
        say(socket, "b", close_context=True)
        assert len(audio(hear(socket, "b")["b"])) / 48_000 < 20


def test_a_name_can_be_used_again(server: RunningServer) -> None:
    with multi(server) as socket:
        for _ in range(3):
            say(socket, "same", text="Again. ", flush=True)
            say(socket, "same", close_context=True)
            assert audio(hear(socket, "same")["same"])


def test_keep_alives_and_late_settings_disturb_nothing(server: RunningServer, client: httpx.Client) -> None:
    with multi(server) as socket:
        say(socket, text="")
        say(socket, "a", text="")
        say(socket, "a", text=" ")
        say(socket, "a", text=" ", voice_settings={"speed": 1.2, "stability": 0.3})
        say(socket, "a", text=TEXT)
        say(socket, text="")
        say(socket, "a", text="")
        say(socket, "a", text=" ", voice_settings={"speed": 0.7})
        say(socket, "a", flush=True)
        say(socket, "a", close_context=True)
        messages = hear(socket, "a")["a"]
    assert len(audio(messages)) == pytest.approx(len(native(client, speed=1.2)), rel=0.05)


def test_closing_a_context_without_speech_is_final_at_once(server: RunningServer) -> None:
    with multi(server) as socket:
        say(socket, "a", **OPENING)
        say(socket, "a", close_context=True)
        assert hear(socket, "a")["a"] == [{"isFinal": True, "contextId": "a", "context_id": "a"}]


def test_close_socket_closes_at_once(server: RunningServer, client: httpx.Client) -> None:
    with multi(server) as socket:
        say(socket, "a", text="word " * 500)
        socket.recv(timeout=20)
        say(socket, close_socket=True)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    await_idle(client)


def test_phrases_need_no_flush_to_be_heard(server: RunningServer) -> None:
    """auto_mode: each message is a phrase, with or without a blank behind it."""
    with multi(server, auto_mode="true") as socket:
        say(socket, "a", text="Hello there.")
        heard = ""
        while not heard.endswith("there. "):
            alignment = json.loads(socket.recv(timeout=20)).get("alignment")
            heard += "".join(alignment["chars"]) if alignment else ""
        say(socket, "a", text="How are you?")
        say(socket, "a", flush=True)
        say(socket, "a", close_context=True)
        heard += "".join(char for char, _, _ in times(hear(socket, "a")["a"]))
    assert heard == "Hello there. How are you? "


def test_signs_alone_are_a_short_silence(server: RunningServer) -> None:
    with multi(server) as socket:
        say(socket, "a", text="😀 ", flush=True)
        say(socket, "a", close_context=True)
        messages = hear(socket, "a")["a"]
    assert audio(messages) == bytes(4_800)
    assert not any("error" in message for message in messages)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"text": 5}, "text"),
        ({"text": "Hi. ", "voice_settings": {"speed": 9}}, "speed"),
        ([1], "message"),
        ({"text": "a" * 4_097}, "the limit is 4096"),
    ],
)
def test_refusals_leave_the_socket_open(server: RunningServer, message: object, says: str) -> None:
    with multi(server) as socket:
        socket.send(json.dumps(message))
        assert says in json.loads(socket.recv(timeout=5))["message"]
        say(socket, "fine", text="Fine. ", flush=True)
        say(socket, "fine", close_context=True)
        assert audio(hear(socket, "fine")["fine"])


def test_text_for_a_closing_context_is_refused(server: RunningServer) -> None:
    with multi(server) as socket:
        say(socket, "a", text=TEXT * 5, flush=True)
        say(socket, "a", close_context=True)
        say(socket, "a", text="more ")
        errors = [message for message in hear(socket, "a")["a"] if "error" in message]
    assert "closing" in errors[0]["message"]


@pytest.mark.parametrize("query", [{"output_format": "tape"}, {"model_id": "gpt-9"}, {"seed": "x"}])
def test_bad_queries_close_with_1008(server: RunningServer, query: dict[str, str]) -> None:
    with multi(server, **query) as socket:
        assert json.loads(socket.recv(timeout=5))["error"] in ("invalid_parameter", "unknown_model")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_silence_is_closed_with_1008(server: RunningServer) -> None:
    with multi(server, inactivity_timeout="0.1") as socket:
        assert json.loads(socket.recv(timeout=5))["error"] == "input_timeout_exceeded"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_keys_in_the_header_or_the_first_message() -> None:
    guarded = RunningServer(api_keys="one")
    with dial(guarded, "stream-input", {"xi-api-key": "one"}) as socket:
        say(socket, text="Hi. ")
        say(socket, text="")
        assert audio(hear(socket, "")[""])
    with dial(guarded, "stream-input") as socket:
        socket.send(json.dumps({"text": " ", "xi-api-key": "one"}))
        say(socket, text="Hi. ")
        say(socket, text="")
        assert audio(hear(socket, "")[""])
    for headers, first in (({"xi-api-key": "two"}, None), (None, {"text": " "})):
        with dial(guarded, "stream-input", headers) as socket:
            if first is not None:
                socket.send(json.dumps(first))
            assert json.loads(socket.recv(timeout=5))["error"] == "invalid_api_key"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
    assert guarded.stop() == 0


def test_a_close_behind_the_flushed_words_still_ends_the_file(server: RunningServer) -> None:
    """Everything flushed has been heard before the close: the container is finished all the same."""
    with multi(server, output_format="opus_48000_32") as socket:
        say(socket, "a", text="All of this is heard. ", flush=True)
        messages: list[dict[str, Any]] = []
        while "heard" not in "".join(char for char, _, _ in times(messages)):
            messages.append(json.loads(socket.recv(timeout=20)))
        say(socket, "a", text="And now ")
        say(socket, "a", close_context=True)
        messages += hear(socket, "a")["a"]
    pages = audio(messages).split(b"OggS")
    assert pages[-1][1] & 4  # the flag of a stream's last page
