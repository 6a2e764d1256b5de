"""Attacks within the protocols: each message is one that a client may send, and none is needed."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtests.attacks.attack import Attack

_SPEECH = "/v1/audio/speech"
_AGAIN_S = 0.2
_TEXT = "This is said again and again, and there is no end of it. " * 60
_RESUMED, _ASKING = 16, 16  # contexts, connections
_BREAKS = 'One.<break time="5s"/>' * 150 + "Two."


def _talk(url: str, path: str, talk: Callable[[ClientConnection], None], *protocols: str) -> None:
    """Again from a new socket whenever it ends."""
    address = "ws" + url.removeprefix("http") + path
    while True:
        with suppress(OSError, ConnectionClosed, InvalidStatus, TimeoutError):
            named = [Subprotocol(one) for one in protocols] or None
            with connect(address, subprotocols=named, compression=None, max_size=None) as socket:
                talk(socket)
        time.sleep(_AGAIN_S)


def _say(socket: ClientConnection, **message: object) -> None:
    socket.send(json.dumps(message))


def _heard(socket: ClientConnection, *kinds: str) -> dict[str, object]:
    while True:
        message = socket.recv(timeout=30)
        if isinstance(message, str):
            event: dict[str, object] = json.loads(message)
            if event["type"] in kinds:
                return event


def resumes_beyond_the_end(url: str) -> None:
    """Each is made whole, and nothing of it is sent."""

    def talk(socket: ClientConnection) -> None:
        names = [str(number) for number in range(_RESUMED)]
        _say(socket, type="start", context="first", seed=1)
        known = _heard(socket, "started")["resume_id"]
        _say(socket, type="cancel", context="first")
        resumed = {"type": "resume", "resume_id": known, "from_sample": 10**11, "seed": 1, "text": _TEXT, "ended": True}
        for name in names:
            _say(socket, **resumed, context=name)
        while True:
            _say(socket, **resumed, context=_heard(socket, "error")["context"])

    _talk(url, f"{_SPEECH}/ws", talk, "parlando.v1")


def contexts_that_come_and_go(url: str) -> None:
    """Opened with 600 characters and cancelled at once, 200 a second."""

    def talk(socket: ClientConnection) -> None:
        form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
        number = 0
        while True:
            name, number = str(number), number + 1
            asked = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "alloy"}, "output_format": form}
            _say(socket, context_id=name, transcript=_TEXT[:600], **{"continue": True}, **asked)
            _say(socket, context_id=name, cancel=True)
            with suppress(TimeoutError):
                while True:
                    socket.recv(timeout=0)
            time.sleep(0.005)

    _talk(url, "/tts/websocket?cartesia_version=2026-03-01", talk)


def empty_items(url: str) -> None:
    def talk(socket: ClientConnection) -> None:
        item = {"type": "message", "role": "user", "content": []}
        while True:
            for _ in range(10):
                _say(socket, type="conversation.item.create", item=item)
            with suppress(TimeoutError):
                while True:
                    socket.recv(timeout=0)
            time.sleep(0.02)

    _talk(url, "/v1/realtime?model=gpt-realtime", talk)


def _in_threads(url: str, ask: Callable[[http.client.HTTPConnection], None]) -> None:
    place = urlsplit(url)

    def one() -> None:
        while True:
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port or 80, timeout=30)
                while True:
                    ask(connection)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(_ASKING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def metrics_without_end(url: str) -> None:
    def ask(connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        time.sleep(0.02)

    _in_threads(url, ask)


def long_queries(url: str) -> None:
    """60 kB of parameters in each address, a megabyte a second."""
    query = "&".join(f"a{number}=%41" for number in range(6_000))

    def ask(connection: http.client.HTTPConnection) -> None:
        connection.request("GET", f"/v1/audio/voices?{query}")
        connection.getresponse().read()
        time.sleep(1.0)

    _in_threads(url, ask)


def one_byte_of_many(url: str) -> None:
    """Ranges of a byte: the whole must be made to know how long it is."""
    text = quote(_TEXT[:1_500])

    def ask(connection: http.client.HTTPConnection) -> None:
        headers = {"Range": "bytes=0-0", "Sec-Fetch-Site": "same-origin"}
        connection.request("GET", f"{_SPEECH}?input={text}&response_format=wav", headers=headers)
        connection.getresponse().read()
        time.sleep(1.0)

    _in_threads(url, ask)


def breaks(url: str) -> None:
    """Twelve minutes of pauses, asked for whole."""
    body = json.dumps({"input": _BREAKS, "response_format": "wav", "stream": False})

    def ask(connection: http.client.HTTPConnection) -> None:
        connection.request("POST", _SPEECH, body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        time.sleep(4.0)

    _in_threads(url, ask)


ATTACKS = (
    Attack(
        name="resumes beyond the end",
        what=f"{_RESUMED} replies at once, resumed behind their last sample",
        run=resumes_beyond_the_end,
    ),
    Attack(
        name="contexts that come and go",
        what="200 contexts a second of 600 characters, cancelled at once",
        run=contexts_that_come_and_go,
    ),
    Attack(name="empty items", what="500 items a second that hold no text", run=empty_items),
    Attack(name="metrics", what=f"/metrics by {_ASKING} connections, 800 times a second", run=metrics_without_end),
    Attack(name="long queries", what=f"{_ASKING} addresses a second of 6,000 parameters", run=long_queries),
    Attack(name="ranges of a byte", what=f"{_ASKING} times a second one byte of 100 s of WAV", run=one_byte_of_many),
    Attack(name="pauses", what=f"4 times a second 12 minutes of pauses, whole, by {_ASKING} connections", run=breaks),
)
