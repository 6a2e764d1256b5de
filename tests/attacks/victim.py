"""A listener beside an attack. What it must keep is a fact, not a speed: its playout clock never runs dry.

It speaks one utterance for as long as the attack lasts and sends the next phrase when its lead falls below LEAD_S, so
that it always has text to speak and never much audio in hand. Arrivals are stamped where the bytes come in.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from loadtests.metrics_page import await_idle, scrape
from loadtests.playback import Playback, play
from tests.edge.conftest import RunningServer

JITTER_S = 0.1
LEAD_S = 1.5
RATE_HZ = 24_000
MAX_GROWTH_BYTES = 48 * 2**20  # of the server's processes: caches fill, and an allocator keeps some of what it had
_PHRASES = (
    "While the others do what they like, this one goes on. ",
    "It has a story to tell and tells it to the end. ",
    "Nothing that happens beside it can be heard in it. ",
)
_POLL_S = 0.02
_AFTER_S = 0.5  # of audio that must still be made when the attack is over
_WITHIN_S = 30.0


class Victim:
    def __init__(self, server: RunningServer) -> None:
        self.chunks: list[tuple[float, int]] = []  # arrival, samples
        self.error: dict[str, object] | None = None  # that ended the stream
        self._server = server
        self._stopping, self._sounds = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)

    @property
    def audio_s(self) -> float:
        return sum(samples for _, samples in self.chunks) / RATE_HZ

    @property
    def playback(self) -> Playback:
        return play(self.chunks, RATE_HZ, jitter_s=JITTER_S)

    def start(self) -> None:
        self._thread.start()
        assert self._sounds.wait(_WITHIN_S), f"the stream beside the attack never began: {self.error}"

    def stop(self) -> None:
        """Speaks on for a moment, so that what the attack left behind is heard too, and ends its text."""
        enough_s, until_s = self.audio_s + LEAD_S + _AFTER_S, time.monotonic() + _WITHIN_S
        while self.audio_s < enough_s and self._thread.is_alive() and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        self._stopping.set()
        self._thread.join(_WITHIN_S)
        assert not self._thread.is_alive(), "the stream beside the attack never ended"

    def _speak(self) -> None:
        phrases = 0
        try:
            with connect(self._server.ws_url, subprotocols=["parlando.v1"], compression=None) as socket:  # type: ignore[list-item]
                while True:
                    if self._stopping.is_set():
                        socket.send(json.dumps({"type": "end"}))
                        self._stopping.clear()
                        phrases = -1
                    elif phrases >= 0 and self._lead_s() < LEAD_S and self._spoke(phrases):
                        phrase = _PHRASES[phrases % len(_PHRASES)]
                        socket.send(json.dumps({"type": "append", "text": phrase}))
                        phrases += 1
                    try:
                        message = socket.recv(timeout=_POLL_S)
                    except TimeoutError:
                        continue
                    if isinstance(message, bytes):
                        self.chunks.append((time.monotonic(), len(message) // 2))
                        self._sounds.set()
                        continue
                    event = json.loads(message)
                    if event["type"] == "error":
                        self.error = event
                    if event["type"] in ("error", "done"):
                        return
        except (OSError, ConnectionClosed) as error:
            self.error = {"type": "error", "code": repr(error)}

    def _lead_s(self) -> float:
        return self.playback.ended_s - time.monotonic() if self.chunks else 0.0

    def _spoke(self, phrases: int) -> bool:
        """At most two phrases wait to be spoken (each is longer than 2 s)."""
        return phrases < 2 + self.audio_s / 2


@contextmanager
def spared(server: RunningServer) -> Iterator[Victim]:
    """What is done inside harms no one: the victim never runs dry, the engine lives on, and nothing is kept."""
    with httpx.Client(base_url=server.url, timeout=30) as client:  # what only the first request pays for
        client.post("/v1/audio/speech", json={"input": "Before it begins.", "response_format": "pcm"})
    before_bytes, restarts = resident_bytes(server), _restarts(server)
    victim = Victim(server)
    victim.start()
    try:
        yield victim
    finally:
        victim.stop()
    assert victim.error is None, victim.error
    playback = victim.playback
    assert playback.underruns == 0, f"dry for {playback.stalled_s:.3f} s in {playback.underruns} places"
    assert _restarts(server) == restarts, "the engine was restarted"
    assert not any(await_idle(server.url, _WITHIN_S).values())
    grown = resident_bytes(server) - before_bytes
    assert grown < MAX_GROWTH_BYTES, f"{grown / 2**20:.0f} MiB more than before the attack"


def resident_bytes(server: RunningServer) -> int:
    """Of the server and its engine."""
    return sum(_resident_bytes(pid) for pid in (server.process.pid, *_children(server.process.pid)))


def _restarts(server: RunningServer) -> float:
    return scrape(server.url)["tts_engine_restarts"]


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
