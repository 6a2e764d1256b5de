"""Barge-in at random moments, by every way there is: the sound stops, the position is right to the word, slots return.

The same text and seed always give the same samples, so one undisturbed run says what each interrupted one must have
sent, and when each of its words ended. `BARGE_IN_MOMENTS` sets how many moments are drawn for each way; figures are
printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socket import SHUT_RDWR, create_connection
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

MOMENTS = int(os.environ.get("BARGE_IN_MOMENTS", "40"))
MAX_MOMENT_S = 0.15  # far from the end of the text
SEED = 5
TEXT = "Well, Dr. Smith; the 3 answers (1, 2 and 42%) cost $12.50 in all! Then 😀 we  go on, and on and on. " * 9
REQUEST = {"input": TEXT, "seed": SEED, "response_format": "pcm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The undisturbed run."""

    pcm: bytes
    word_ends: list[tuple[float, int]]  # seconds, character

    def spoken_at(self, played_s: float) -> str:
        return TEXT[: max((char for end_s, char in self.word_ends if end_s <= played_s + 1e-6), default=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How one interruption went, by the client's clock."""

    stop_s: float  # from asking to the last word of the server's
    late_samples: int = 0  # that came after asking


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    with RunningServer() as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def client(running: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as one:
        yield one


@pytest.fixture(scope="module")
def whole(running: RunningServer) -> Whole:
    with dial(running) as socket:
        say(socket, type="start", seed=SEED)
        say(socket, type="append", text=TEXT)
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    words = [word for event in events for word in event.get("words", [])]
    return Whole(pcm=pcm, word_ends=[(word["end_s"], word["end_char"]) for word in words])


class Ear:
    """What a client of a socket has received, and when."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.pcm, self.chunks = b"", 0
        self.last: dict[str, Any] = {}  # not audio

    def hear(self, within_s: float) -> bool:
        """The next message. Returns whether there was one."""
        try:
            message = self._socket.recv(timeout=max(0.0, within_s))
        except TimeoutError:
            return False
        if isinstance(message, bytes):
            self.pcm += message
            self.chunks += 1
        else:
            self.last = json.loads(message)
        return True

    def hear_until(self, moment_s: float) -> None:
        while (left_s := moment_s - time.monotonic()) > 0:
            self.hear(left_s)

    def hear_out(self, *last: str) -> None:
        self.last = {}
        while self.last.get("type") not in last:
            assert self.hear(20), f"none of {last} came"


def figures(client: httpx.Client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def await_free(client: httpx.Client) -> None:
    """Until the engine, too, says that nothing of it is held."""
    deadline_s = time.monotonic() + 10
    while True:
        now = figures(client)
        idle = now["tts_streams_active"] == 0 and now["tts_requests_running"] == 0 and now["tts_requests_waiting"] == 0
        if idle:
            break
        assert time.monotonic() < deadline_s, f"not given back: {now}"
    assert now["tts_engine_restarts"] == 0


@contextlib.contextmanager
def parlando_speaking(server: RunningServer) -> Iterator[ClientConnection]:
    with dial(server) as socket:
        say(socket, type="start", seed=SEED)
        say(socket, type="append", text=TEXT)
        yield socket


@contextlib.contextmanager
def nari_speaking(server: RunningServer) -> Iterator[ClientConnection]:
    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", seed=SEED)
        say(socket, type="input_text.append", sequence=0, text=TEXT)
        yield socket


def parlando_cancel(server: RunningServer, client: httpx.Client, whole: Whole, draw: random.Random) -> Stop:
    with parlando_speaking(server) as socket:
        ear = Ear(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        heard_s = len(ear.pcm) / 48_000
        played_ms = draw.choice([None, draw.uniform(0, 1_000 * heard_s)])
        asked_s, before = time.monotonic(), len(ear.pcm)
        say(socket, type="cancel", **({} if played_ms is None else {"played_ms": played_ms}))
        say(socket, type="append", text="Next. ")  # the name is free at once, and nothing stale may follow
        ear.hear_out("cancelled")
        stop = Stop(stop_s=time.monotonic() - asked_s, late_samples=(len(ear.pcm) - before) // 2)
        told = ear.last
        assert whole.pcm.startswith(ear.pcm)
        assert told["sent_ms"] == pytest.approx(len(ear.pcm) / 48, abs=0.01)
        if played_ms is not None:
            assert told["audio_ms"] == pytest.approx(played_ms, abs=0.01)
        assert told["audio_ms"] <= told["sent_ms"]
        assert told["text_spoken"] == whole.spoken_at(told["audio_ms"] / 1000)
        assert told["text_spoken"] + told["text_remaining"] == TEXT
        ear.hear(20)
        assert ear.last["type"] == "started"
        return stop


def nari_cancel(server: RunningServer, client: httpx.Client, whole: Whole, draw: random.Random) -> Stop:
    with nari_speaking(server) as socket:
        ear = Ear(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        asked_s, before = time.monotonic(), len(ear.pcm)
        say(socket, type="response.cancel")
        ear.hear_out("response.done")
        stop = Stop(stop_s=time.monotonic() - asked_s, late_samples=(len(ear.pcm) - before) // 2)
        assert (ear.last["stop_reason"], ear.last["audio_chunks"]) == ("cancelled", ear.chunks)
        assert whole.pcm.startswith(ear.pcm)
        with pytest.raises(ConnectionClosed) as closed:
            ear.hear(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
        return stop


def await_gone(client: httpx.Client) -> float:
    """When the server has let go of the utterance."""
    deadline_s = time.monotonic() + 10
    while figures(client)["tts_streams_active"]:
        assert time.monotonic() < deadline_s, "an utterance that nobody hears goes on"
    return time.monotonic()


def socket_disconnect(server: RunningServer, client: httpx.Client, whole: Whole, draw: random.Random) -> Stop:
    """Without a close frame, as a client that dies."""
    with draw.choice([parlando_speaking, nari_speaking])(server) as socket:
        ear = Ear(socket)
        ear.hear_until(time.monotonic() + draw.uniform(0, MAX_MOMENT_S))
        asked_s = time.monotonic()
        socket.socket.shutdown(SHUT_RDWR)
        stop = Stop(stop_s=await_gone(client) - asked_s)
        assert whole.pcm.startswith(ear.pcm)
        return stop


def http_disconnect(server: RunningServer, client: httpx.Client, whole: Whole, draw: random.Random) -> Stop:
    """Before the answer's head, too."""
    body = json.dumps(REQUEST).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    heard = b""
    with create_connection(("127.0.0.1", server.port)) as socket:
        socket.sendall(head.encode() + body)
        moment_s = time.monotonic() + draw.uniform(0, MAX_MOMENT_S)
        while (left_s := moment_s - time.monotonic()) > 0:
            socket.settimeout(left_s)
            with contextlib.suppress(TimeoutError):
                heard += socket.recv(65_536)
        asked_s = time.monotonic()
    assert not heard.endswith(b"0\r\n\r\n"), "it ended by itself"
    return Stop(stop_s=await_gone(client) - asked_s)


@pytest.mark.parametrize("way", [parlando_cancel, nari_cancel, socket_disconnect, http_disconnect])
def test_barge_in_at_random_moments(
    running: RunningServer,
    client: httpx.Client,
    whole: Whole,
    way: Callable[[RunningServer, httpx.Client, Whole, random.Random], Stop],
) -> None:
    stops = [way(running, client, whole, random.Random(moment)) for moment in range(MOMENTS)]
    await_free(client)
    stop_ms = sorted(1000 * stop.stop_s for stop in stops)
    print(
        f"{way.__name__}: {MOMENTS} moments, stopped after {statistics.median(stop_ms):.1f} ms (median), "
        f"{stop_ms[int(0.95 * MOMENTS)]:.1f} (p95), {stop_ms[-1]:.1f} (most); "
        f"most audio on its way {max(stop.late_samples for stop in stops) / 24:.0f} ms"
    )
    assert stop_ms[-1] < 1000, "it stops where it is, long before its end; the drill's figures are read by a person"
