"""The same id is the same bytes: a hundred random utterances, asked again, and again of a server that starts anew."""

from __future__ import annotations

import random
from typing import Any

import httpx

from server.audio.formats import Codec, codec_rates_hz
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

COUNT = 100
WORDS = "well yes 3.14 Dr. Smith paid $12.50 on 3/4/2026 for tea, or not? café SQL 10:30 ok! (maybe) e.g. this".split()
VOICES = ("rms", "slt", "awb", "kal16")


def drawn(place: int) -> dict[str, Any]:
    draw = random.Random(place)
    codec = draw.choice(list(Codec))
    return {
        "input": " ".join(draw.choices(WORDS, k=draw.randint(1, 8))) + " end",
        "voice": draw.choice(VOICES),
        "seed": draw.randrange(2**63),
        "speed": draw.choice([1.0, 1.0, 0.8, 1.25, 2.0]),
        "temperature": draw.choice([None, None, 0.0, 0.7]),
        "response_format": codec.value,
        "sample_rate": draw.choice(codec_rates_hz(codec)),
    }


def spoken(server: RunningServer) -> list[tuple[str, str, bytes]]:
    """(id, seed, bytes) of each; every third over the native socket, a word at a time."""
    found = []
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for place in range(COUNT):
            asked = drawn(place)
            if place % 3 == 0:
                found.append(_natively(server, asked))
                continue
            answer = client.post("/v1/audio/speech", json={name: one for name, one in asked.items() if one is not None})
            assert answer.status_code == 200, answer.text
            found.append((answer.headers["x-utterance-id"], answer.headers["x-seed"], answer.content))
    return found


def _natively(server: RunningServer, asked: dict[str, Any]) -> tuple[str, str, bytes]:
    settings = {name: asked[name] for name in ("voice", "seed", "speed", "temperature", "sample_rate")}
    with dial(server) as socket:
        say(socket, type="start", **{name: one for name, one in settings.items() if one is not None})
        for word in asked["input"].split(" "):
            say(socket, type="append", text=word + " ")
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    return events[-1]["id"], str(events[-1]["seed"]), pcm


def test_a_hundred_random_utterances_again_and_after_a_restart(server: RunningServer) -> None:
    first = spoken(server)
    assert [seed for _, seed, _ in first] == [str(drawn(place)["seed"]) for place in range(COUNT)]
    assert len({name for name, _, _ in first}) == COUNT
    assert all(len(audio) > 100 for _, _, audio in first)
    assert spoken(server) == first
    with RunningServer() as other:
        assert spoken(other) == first
        assert other.stop() == 0
