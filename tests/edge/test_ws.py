"""`parlando.v1` against a running server: order, refusals, barge-in, rude clients."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.edge.conftest import RunningServer, await_idle

TEXT = "Hello there, this is a test of words that come one by one."


def dial(server: RunningServer) -> ClientConnection:
    return connect(server.ws_url, subprotocols=["parlando.v1"], compression=None)  # type: ignore[list-item]


def say(socket: ClientConnection, **message: object) -> None:
    socket.send(json.dumps(message))


def hear(socket: ClientConnection, *last: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Audio and events until an event of one of the given types."""
    pcm, events = b"", []
    while True:
        message = socket.recv(timeout=20)
        if isinstance(message, bytes):
            pcm += message
            continue
        events.append(json.loads(message))
        if events[-1]["type"] in last:
            return pcm, events


def test_words_one_by_one_equal_the_whole_text_over_http(server: RunningServer, client: httpx.Client) -> None:
    whole = client.post("/v1/audio/speech", json={"input": TEXT, "seed": 7, "response_format": "pcm"}).content
    with dial(server) as socket:
        assert socket.subprotocol == "parlando.v1"
        say(socket, type="start", seed=7)
        for word in TEXT.split():
            say(socket, type="append", text=word + " ")
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    assert pcm == whole
    assert events[0]["type"] == "started"
    assert events[0]["audio"] == {"encoding": "pcm_s16le", "sample_rate": 24000, "channels": 1}
    done = events[-1]
    assert done["audio_ms"] == pytest.approx(len(pcm) / 48, abs=0.01)
    assert done["ttfa_ms"] > 0
    words = [word for event in events if event["type"] == "words" for word in event["words"]]
    assert [TEXT[word["start_char"] : word["end_char"]] for word in words] == TEXT.split()


def test_many_utterances_on_one_socket(server: RunningServer) -> None:
    with dial(server) as socket:
        for _ in range(3):
            say(socket, type="append", text="Again.")
            say(socket, type="end")
            pcm, events = hear(socket, "done")
            assert pcm
            assert events[-1]["seed"] == events[0]["seed"]


def test_waiting_for_text_then_more(server: RunningServer) -> None:
    with dial(server) as socket:
        say(socket, type="append", text="This is the first part of a sentence that goes ")
        first, _ = hear(socket, "waiting_for_text")
        say(socket, type="append", text="on and on.")
        say(socket, type="end")
        rest, _ = hear(socket, "done")
    assert first
    assert rest


def test_flush_speaks_what_is_there(server: RunningServer) -> None:
    with dial(server) as socket:
        say(socket, type="append", text="Hello")
        say(socket, type="flush")
        pcm, _ = hear(socket, "waiting_for_text")
        assert pcm
        say(socket, type="cancel")
        hear(socket, "cancelled")


def test_cancel_stops_and_the_socket_goes_on(server: RunningServer) -> None:
    with dial(server) as socket:
        say(socket, type="append", text="word " * 600)
        message = socket.recv(timeout=20)
        while not isinstance(message, bytes):
            message = socket.recv(timeout=20)
        say(socket, type="cancel")
        _, events = hear(socket, "cancelled")
        assert events[-1]["audio_ms"] > 0
        say(socket, type="append", text="Still here.")
        say(socket, type="end")
        pcm, _ = hear(socket, "started", "done")
        pcm, _ = hear(socket, "done")
        assert pcm


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"type": "start", "voice": "nobody"}, "valid: rms"),
        ({"type": "start", "colour": "red"}, "colour"),
        ({"type": "start", "speed": 9}, "speed"),
        ({"type": "start", "sample_rate": 1}, "valid: 8000"),
        ({"type": "append"}, "text"),
        ({"type": "append", "text": 5}, "got 5"),
        ({"type": "append", "text": "a" * 4_097}, "the limit is 4096"),
        ({"type": "sing"}, "sing"),
        ({"no": "type"}, "type"),
        ({"type": "flush"}, "send 'append' first"),
        ({"type": "end"}, "send 'append' first"),
        ([1, 2], "message"),
    ],
)
def test_refusals_are_precise_and_leave_the_socket_open(server: RunningServer, message: object, says: str) -> None:
    with dial(server) as socket:
        socket.send(json.dumps(message))
        _, events = hear(socket, "error")
        assert says in events[-1]["message"]
        say(socket, type="cancel")
        say(socket, type="append", text="Fine. ")
        say(socket, type="end")
        _, events = hear(socket, "done")


def test_unspeakable_text_is_refused_by_name(server: RunningServer) -> None:
    with dial(server) as socket:
        say(socket, type="append", text="😀 !!")
        say(socket, type="end")
        _, events = hear(socket, "error")
        assert events[-1]["code"] == "unspeakable_text"


@pytest.mark.parametrize(("rubbish", "code"), [(b"\x00\x01\x02", 1003), ("{", 1007), ("x" * 70_000, 1009)])
def test_rubbish_closes_with_the_right_code(server: RunningServer, rubbish: bytes | str, code: int) -> None:
    with dial(server) as socket:
        socket.send(rubbish)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
    assert httpx.get(f"{server.url}/ready").status_code == 200


def _speak_and_hang(url: str, started: Any) -> None:
    with connect(url, compression=None) as socket:
        socket.send(json.dumps({"type": "append", "text": "word " * 700}))
        while not isinstance(socket.recv(), bytes):
            pass
        started.set()
        signal.pause()


def test_a_killed_client_frees_its_stream(server: RunningServer, client: httpx.Client) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    victim = context.Process(target=_speak_and_hang, args=(server.ws_url, started))
    victim.start()
    assert started.wait(20)
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    await_idle(client)
    assert client.get("/ready").status_code == 200


def test_drain_finishes_live_utterances() -> None:
    server = RunningServer()
    with dial(server) as socket:
        say(socket, type="append", text="This one may finish, although the server was asked to stop.")
        hear(socket, "started")
        server.process.send_signal(signal.SIGTERM)
        say(socket, type="end")
        pcm, _ = hear(socket, "done")
        assert pcm
    server.process.wait(timeout=30)
    assert server.process.returncode == 0
