"""A server with a tiny random bundle of a family, reached through every protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from websockets.sync.client import connect

from engines.families.bundle import Bundle
from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_doors import dial_path
from tests.edge.test_ws import dial, hear, say

TEXT = "Well, this is said. Then we go on, word by word, to the end."
SEED = 5
ELEVEN = "/v1/text-to-speech/alba"


class FamilyServer(RunningServer):
    def __init__(self, bundle: Bundle, **more: str) -> None:
        """The tests of the protocols ask for voices of other bundles."""
        self.wyoming_port = free_port()
        voice = bundle.voices[0].id
        aliases = ",".join(f"{name}={voice}" for name in ("rms", "alba") if name != voice)
        settings = {"slots": "4", "seed": str(SEED), "voice_aliases": aliases, "wyoming_port": str(self.wyoming_port)}
        super().__init__(bundle=str(bundle.folder), **settings | more)


def parlando_speech(server: Any, pieces: Sequence[str]) -> bytes:
    with dial(server) as socket:
        say(socket, type="start")
        for piece in pieces:
            say(socket, type="append", text=piece)
        say(socket, type="end")
        return hear(socket, "done")[0]


def nari_speech(server: Any, pieces: Sequence[str]) -> bytes:
    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", voice="alba", seed=SEED)
        for number, piece in enumerate(pieces):
            say(socket, type="input_text.append", sequence=number, text=piece)
        say(socket, type="input_text.end", sequence=len(pieces))
        return hear(socket, "response.done")[0]


def eleven_speech(server: Any, pieces: Sequence[str]) -> bytes:
    pcm = b""
    with dial_path(server, f"{ELEVEN}/stream-input?output_format=pcm_24000&seed={SEED}") as socket:
        for piece in (" ", *pieces, ""):
            socket.send(json.dumps({"text": piece}))
        for message in socket:
            told = json.loads(message)
            pcm += base64.b64decode(told.get("audio") or "")
            if told.get("isFinal"):
                break
    return pcm


OWN: list[Any] = [parlando_speech, nari_speech, eleven_speech]
