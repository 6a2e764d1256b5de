"""A random bundle of 6.9M through every protocol: the same audio however the text comes, and what the model lacks is
refused by its name in the protocol's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.random_checkpoint import write_random
from models.exporting.pocket.export import export
from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_doors import CARTESIA, SPEECHES, Speech, dial_path, native, realtime_say
from tests.edge.test_ws import dial, say
from tests.families.served import ELEVEN, OWN

NAME = "english_7m_refl_2026-10"
TEXT = "Well, this is said. Then we go on, word by word, to the end."
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


def test_an_instruction_that_no_one_follows_is_left_out(server: PocketServer, wanted: bytes) -> None:
    openai = {"input": TEXT, "voice": "alba", "response_format": "pcm", "instructions": "Speak slowly, and cheerfully."}
    answer = httpx.post(f"{server.url}/v1/audio/speech", json=openai, timeout=60)
    assert (answer.status_code, answer.headers["x-speed"]) == (200, "1")
    assert answer.content == wanted


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
