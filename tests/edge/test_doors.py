"""The laws through every door that came after `parlando.v1`, on the shipped voice and over real sockets.

The same text and seed are the same samples, whole or word by word; an interruption at a random moment stops the sound,
tells what was spoken to the word, and gives slots back. `BARGE_IN_MOMENTS` sets how many moments each door gets.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from socket import SHUT_RDWR

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.edge import test_eleven_ws as eleven
from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_barge_in import MAX_MOMENT_S, SEED, TEXT, Ear, Whole, await_free, await_gone
from tests.edge.test_ws import dial, hear, say
from tests.edge.wyoming_client import WyomingClient

MOMENTS = int(os.environ.get("BARGE_IN_MOMENTS", "10"))
FRAME_MS = 40  # a word that ends in the last frame may be told although the close cuts its end
SHORT = "Well, the 3 answers cost $12.50 in all! Then we go on."


class DoorServer(RunningServer):
    def __init__(self) -> None:
        self.wyoming_port = free_port()
        super().__init__(wyoming_port=str(self.wyoming_port), seed=str(SEED))


@pytest.fixture(scope="module")
def running() -> Iterator[DoorServer]:
    with DoorServer() as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def client(running: DoorServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as one:
        yield one


class JsonEar(Ear):
    """Of a socket whose audio is base64 in a field of messages."""

    def __init__(self, socket: ClientConnection, kind: str = "chunk", field: str = "data") -> None:
        super().__init__(socket)
        self._kind, self._field = kind, field

    def hear(self, within_s: float) -> bool:
        heard = super().hear(within_s)
        if heard and self.last["type"] == self._kind:
            self.pcm += base64.b64decode(self.last[self._field])
        return heard


def native(server: DoorServer, text: str) -> Whole:
    with dial(server) as socket:
        say(socket, type="append", text=text)
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    words = [word for event in events for word in event.get("words", [])]
    return Whole(pcm=pcm, word_ends=[(word["end_s"], word["end_char"]) for word in words])


@pytest.fixture(scope="module")
def whole(running: DoorServer) -> Whole:
    return native(running, TEXT)


def wyoming_speech(server: DoorServer, pieces: Sequence[str]) -> bytes:
    with WyomingClient(server.wyoming_port) as client:
        if len(pieces) == 1:
            client.say("synthesize", text=pieces[0])
            return client.hear_until("audio-stop")[0]
        client.say("synthesize-start")
        for piece in pieces:
            client.say("synthesize-chunk", text=piece)
        client.say("synthesize-stop")
        return client.hear_until("synthesize-stopped")[0]


def dial_path(server: DoorServer, path: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", compression=None)


def deepgram_speech(path: str, server: DoorServer, pieces: Sequence[str]) -> bytes:
    with dial_path(server, path) as socket:
        for piece in pieces:
            say(socket, type="Speak", text=piece)
        say(socket, type="Flush")
        return hear(socket, "Flushed")[0]


def deepgram_v1_speech(server: DoorServer, pieces: Sequence[str]) -> bytes:
    return deepgram_speech("/v1/speak", server, pieces)


def deepgram_v2_speech(server: DoorServer, pieces: Sequence[str]) -> bytes:
    return deepgram_speech("/v2/speak", server, pieces)


CARTESIA_FORM = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
CARTESIA = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "rms"}, "output_format": CARTESIA_FORM}


def cartesia_say(socket: ClientConnection, context: str, text: str, *, more: bool = True) -> None:
    say(socket, **CARTESIA, context_id=context, transcript=text, **{"continue": more})


def cartesia_speech(server: DoorServer, pieces: Sequence[str]) -> bytes:
    with dial_path(server, "/tts/websocket") as socket:
        for piece in pieces:
            cartesia_say(socket, "a", piece)
        cartesia_say(socket, "a", "", more=False)
        ear = JsonEar(socket)
        ear.hear_out("done")
        return ear.pcm


def realtime_say(socket: ClientConnection, *pieces: str) -> JsonEar:
    for piece in pieces:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": piece}]}
        say(socket, type="conversation.item.create", item=item)
    say(socket, type="response.create")
    return JsonEar(socket, "response.output_audio.delta", "delta")


def realtime_speech(server: DoorServer, pieces: Sequence[str]) -> bytes:
    with dial_path(server, "/v1/realtime") as socket:
        ear = realtime_say(socket, *pieces)
        ear.hear_out("response.done")
        return ear.pcm


def vllm_omni_speech(server: DoorServer, pieces: Sequence[str]) -> bytes:
    with dial_path(server, "/v1/audio/speech/stream") as socket:
        for piece in pieces:
            say(socket, type="input.text", text=piece)
        say(socket, type="input.done")
        return hear(socket, "audio.done")[0]


Speech = Callable[[DoorServer, Sequence[str]], bytes]
SPEECHES: list[Speech] = [
    wyoming_speech,
    deepgram_v1_speech,
    deepgram_v2_speech,
    cartesia_speech,
    realtime_speech,
    vllm_omni_speech,
]


@pytest.mark.parametrize("speech", SPEECHES)
def test_a_door_speaks_what_the_native_one_speaks(running: DoorServer, speech: Speech) -> None:
    wanted = native(running, SHORT).pcm
    words = [word + " " for word in SHORT.split(" ")]
    words[-1] = words[-1].rstrip()
    assert speech(running, [SHORT]) == wanted, "whole"
    assert speech(running, words) == wanted, "word by word"
    assert speech(running, [*SHORT]) == wanted, "by characters"


def wyoming_leaves(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    """Its only way to stop. Returns how long after that the utterance goes on."""
    with WyomingClient(server.wyoming_port) as speaker:
        speaker.say("synthesize-start")
        speaker.say("synthesize-chunk", text=TEXT)
        if draw.random() < 0.5:
            speaker.say("synthesize-stop")
        moment_s = time.monotonic() + draw.uniform(0, MAX_MOMENT_S)
        pcm = b""
        while (left_s := moment_s - time.monotonic()) > 0:
            speaker.socket.settimeout(max(left_s, 0.001))
            try:
                event = speaker.hear()
            except TimeoutError:
                break
            pcm += event.payload if event is not None else b""
        asked_s = time.monotonic()
        speaker.socket.shutdown(SHUT_RDWR)
        assert whole.pcm.startswith(pcm)
        return await_gone(client) - asked_s


def deepgram_v1_clear(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    with dial_path(server, "/v1/speak") as socket:
        say(socket, type="Speak", text=TEXT)
        ear = Ear(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        asked_s = time.monotonic()
        say(socket, type="Clear")
        say(socket, type="Speak", text="Next. ")
        ear.hear_out("Cleared")
        stopped_s = time.monotonic() - asked_s
        assert whole.pcm.startswith(ear.pcm)
        say(socket, type="Flush")
        ear.pcm = b""
        ear.hear_out("Flushed")
        assert ear.pcm == native(server, "Next. ").pcm  # nothing stale, and a clean start
        return stopped_s


def deepgram_v2_interrupt(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    with dial_path(server, "/v2/speak") as socket:
        say(socket, type="Speak", text=TEXT)
        ear = Ear(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        played_ms = draw.randint(0, len(ear.pcm) // 48)
        asked_s = time.monotonic()
        say(socket, type="Interrupt", playback_offset={"type": "time_ms", "value": played_ms})
        ear.hear_out("SpeechInterrupted")
        stopped_s = time.monotonic() - asked_s
        told = ear.last
        assert whole.pcm.startswith(ear.pcm)
        assert told["audio_played_ms"] == played_ms
        assert told["metadata"]["audio_duration_ms"] == round(len(ear.pcm) / 48)
        assert told["text_spoken"] == whole.spoken_at(played_ms / 1000)
        assert told["text_spoken"] + told["text_remaining"] == TEXT
        assert not ear.hear(0.01), "something follows the interruption"
        return stopped_s


def cartesia_cancel(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    with dial_path(server, "/tts/websocket") as socket:
        cartesia_say(socket, "a", TEXT)
        ear = JsonEar(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        played_ms = draw.uniform(0, len(ear.pcm) / 48)
        asked_s = time.monotonic()
        say(socket, context_id="a", cancel=True, played_ms=played_ms)
        cartesia_say(socket, "a", "Next. ", more=False)
        ear.hear_out("done")
        stopped_s = time.monotonic() - asked_s
        told = ear.last
        assert whole.pcm.startswith(ear.pcm)
        assert told["audio_ms"] == pytest.approx(played_ms, abs=0.01)
        assert told["text_spoken"] == whole.spoken_at(told["audio_ms"] / 1000)
        assert told["text_spoken"] + told["text_remaining"] == TEXT
        ear.pcm = b""
        ear.hear_out("done")
        assert ear.pcm == native(server, "Next. ").pcm
        return stopped_s


def realtime_truncate(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    with dial_path(server, "/v1/realtime") as socket:
        ear = realtime_say(socket, TEXT)
        ear.hear_out("response.output_item.added")
        item_id = ear.last["item"]["id"]
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        played_ms = draw.randint(0, len(ear.pcm) // 48)
        asked_s = time.monotonic()
        if draw.random() < 0.5:
            say(socket, type="response.cancel")
        say(socket, type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
        ear.hear_out("response.done")
        stopped_s = time.monotonic() - asked_s
        assert ear.last["response"]["status"] == "cancelled"
        assert whole.pcm.startswith(ear.pcm)
        ear.hear_out("conversation.item.truncated")
        assert ear.last["transcript"] == whole.spoken_at(played_ms / 1000)
        ear.pcm = b""
        after = realtime_say(socket, "Next. ")
        after.hear_out("response.done")
        assert after.pcm == native(server, "Next. ").pcm
        return stopped_s


def vllm_omni_cancel(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    with dial_path(server, "/v1/audio/speech/stream") as socket:
        say(socket, type="input.text", text=TEXT)
        ear = Ear(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        asked_s = time.monotonic()
        say(socket, type="input.cancel")
        ear.hear_out("audio.cancelled")
        stopped_s = time.monotonic() - asked_s
        told = ear.last
        assert whole.pcm.startswith(ear.pcm)
        assert told["audio_ms"] <= len(ear.pcm) / 48 + 0.01
        assert told["text_spoken"] == whole.spoken_at(told["audio_ms"] / 1000)
        assert told["text_spoken"] + told["text_remaining"] == TEXT
        ear.pcm = b""
        say(socket, type="input.text", text="Next. ")
        say(socket, type="input.done")
        ear.hear_out("audio.done")
        assert ear.pcm == native(server, "Next. ").pcm
        return stopped_s


def eleven_close(server: DoorServer, client: httpx.Client, whole: Whole, draw: random.Random) -> float:
    """Pipecat's interruption. What was spoken is told by the characters of the times, which all have been spoken."""
    path = "/v1/text-to-speech/rms/multi-stream-input?output_format=pcm_24000&sync_alignment=true"
    with dial_path(server, path) as socket:
        eleven.say(socket, "a", text=TEXT)
        heard, until_s = [], time.monotonic() + draw.uniform(0, MAX_MOMENT_S)
        while (left_s := until_s - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                heard.append(json.loads(socket.recv(timeout=left_s)))
        asked_s = time.monotonic()
        eleven.say(socket, "a", close_context=True)
        eleven.say(socket, "b", text="Next. ", flush=True)
        eleven.say(socket, "b", close_context=True)
        after = eleven.hear(socket, "a")
        stopped_s = time.monotonic() - asked_s
        heard += after["a"]
        pcm, spoken = eleven.audio(heard), eleven.times(heard, absolute=True)
        assert whole.pcm.startswith(pcm)
        assert TEXT.startswith("".join(char for char, _, _ in spoken))
        assert max((end_ms for _, _, end_ms in spoken), default=0) <= len(pcm) / 48 + FRAME_MS
        following = after.get("b", [])
        if not any(message.get("isFinal") for message in following):
            following = [*following, *eleven.hear(socket, "b")["b"]]
        assert eleven.audio(following) == native(server, "Next. ").pcm
        return stopped_s


Interruption = Callable[[DoorServer, httpx.Client, Whole, random.Random], float]
INTERRUPTIONS: list[Interruption] = [
    wyoming_leaves,
    deepgram_v1_clear,
    deepgram_v2_interrupt,
    cartesia_cancel,
    realtime_truncate,
    vllm_omni_cancel,
    eleven_close,
]


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_an_interruption_at_any_moment(
    running: DoorServer, client: httpx.Client, whole: Whole, interrupt: Interruption
) -> None:
    stops_s = [interrupt(running, client, whole, random.Random(moment)) for moment in range(MOMENTS)]
    await_free(client)
    print(f"{interrupt.__name__}: {MOMENTS} moments, over after {1000 * max(stops_s):.1f} ms at most")


def test_deepgram_warns_of_what_cannot_be_spoken(running: DoorServer) -> None:
    for path, code in (("/v1/speak", "TEXT_LEFT_OUT"), ("/v2/speak", "NO_SYNTHESIZABLE_TEXT")):
        with dial_path(running, path) as socket:
            say(socket, type="Speak", text="\u2014")
            say(socket, type="Flush")
            _, events = hear(socket, "Flushed")
            assert [event["code"] for event in events if event["type"] == "Warning"] == [code]


@pytest.mark.parametrize("speech", SPEECHES)
@pytest.mark.parametrize("text", ["👍", "..."])
def test_signs_alone_are_a_short_silence(running: DoorServer, speech: Speech, text: str) -> None:
    """Frameworks give up a service that answers thrice without sound. Deepgram's v2 says it in other words."""
    assert speech(running, [text]) == (b"" if speech is deepgram_v2_speech else bytes(4_800))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/audio/speech", {"input": "👍", "response_format": "pcm"}),
        ("/v1/text-to-speech/rms?output_format=pcm_24000", {"text": "👍"}),
        ("/tts/bytes", {**CARTESIA, "transcript": "👍"}),
        ("/v1/speak?encoding=linear16&container=none", {"text": "👍"}),
    ],
)
def test_signs_alone_are_a_short_silence_over_http(client: httpx.Client, path: str, body: dict[str, object]) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.content) == (200, bytes(4_800))
