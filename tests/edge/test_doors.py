"""The laws through every door that came after `parlando.v1`, on the shipped voice and over real sockets.

The same text and seed are the same samples, whole or word by word; an interruption at a random moment stops the sound,
tells what was said to the word, and gives slots back. `BARGE_IN_MOMENTS` sets how many moments are drawn for each door.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from socket import SHUT_RDWR

import httpx
import pytest

from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_barge_in import MAX_MOMENT_S, SEED, TEXT, Whole, await_free, await_gone
from tests.edge.test_ws import dial, hear, say
from tests.edge.wyoming_client import WyomingClient

MOMENTS = int(os.environ.get("BARGE_IN_MOMENTS", "10"))
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


Speech = Callable[[DoorServer, Sequence[str]], bytes]
SPEECHES: list[Speech] = [wyoming_speech]


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


Interruption = Callable[[DoorServer, httpx.Client, Whole, random.Random], float]
INTERRUPTIONS: list[Interruption] = [wyoming_leaves]


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_an_interruption_at_any_moment(
    running: DoorServer, client: httpx.Client, whole: Whole, interrupt: Interruption
) -> None:
    stops_s = [interrupt(running, client, whole, random.Random(moment)) for moment in range(MOMENTS)]
    await_free(client)
    print(f"{interrupt.__name__}: {MOMENTS} moments, over after {1000 * max(stops_s):.1f} ms at most")
