"""Clients that take places and do nothing with them, or make the server hold what they never fetch."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, suppress

import httpx

from loadtests.metrics_page import scrape
from tests.attacks.sockets import TEXT, dial, frame, send_all, websocket
from tests.attacks.victim import Victim, spared
from tests.edge.conftest import RunningServer
from tests.edge.toy_server import heard

SPEECH = "/v1/audio/speech"
LONG = "This is said and never heard. " * 120


def until_streams(server: RunningServer, number: int) -> None:
    """So many utterances are in progress."""
    until_s = time.monotonic() + 20
    while scrape(server.url)["tts_streams_active"] != number:
        assert time.monotonic() < until_s, f"never {number} streams"
        time.sleep(0.02)


def test_contexts_that_never_speak_give_their_places_back() -> None:
    with RunningServer(idle_s="4") as server, spared(server), ExitStack() as crowd:
        for _ in range(4):
            socket = crowd.enter_context(websocket(server))
            for name in range(15):
                socket.sendall(frame(TEXT, json.dumps({"type": "start", "context": str(name)}).encode()))
        until_streams(server, 61)
        until_streams(server, 1)  # the victim's


def test_bodies_that_dribble_are_cut() -> None:
    with RunningServer(body_timeout_s="0.5") as server, spared(server), ExitStack() as crowd:
        slow = [crowd.enter_context(dial(server)) for _ in range(200)]
        for one in slow:
            one.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{" % SPEECH.encode())
        for one in slow:
            assert heard(one).startswith(b"HTTP/1.1 408 ")


def test_sockets_without_a_key_leave_room_for_those_with_one() -> None:
    path = "/v1/text-to-speech/rms/multi-stream-input"
    with RunningServer(max_connections="16", api_keys="one", body_timeout_s="2") as server, ExitStack() as crowd:
        for _ in range(100):
            crowd.enter_context(websocket(server, path))
        asked = {"input": "Let in.", "response_format": "pcm"}
        answer = httpx.post(server.url + SPEECH, json=asked, headers={"Authorization": "Bearer one"}, timeout=20)
        assert answer.status_code == 200
        assert httpx.post(server.url + SPEECH, json=asked).status_code == 503
        assert httpx.get(f"{server.url}/ready").status_code == 200


def test_answers_of_known_length_that_are_not_fetched_are_bounded() -> None:
    with RunningServer(max_held_bytes=str(2**21), send_timeout_s="1") as server, spared(server), ExitStack() as crowd:
        body = json.dumps({"input": LONG, "response_format": "wav", "sample_rate": 48_000, "stream": False}).encode()
        request = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (SPEECH.encode(), len(body))
        told = []
        for _ in range(3):
            connection = crowd.enter_context(dial(server))
            connection.sendall(request + body)
            told.append(connection.recv(12))
        assert told == [b"HTTP/1.1 503"] * 3  # each is longer than all may hold


def test_large_json_of_no_use(server: RunningServer, victim: Victim, client: httpx.Client) -> None:
    bodies = [
        b'{"input": "x", "a": [' + b"1," * 120_000 + b"1]}",
        b"[" * 250_000,
        b"{" + b",".join(b'"%d":{}' % number for number in range(20_000)) + b"}",
        b'{"input": ' + b"9" * 200_000 + b"}",
        b'{"input": "' + b"\\u0041" * 40_000 + b'"}',
    ]
    for _ in range(10):
        for body in bodies:
            assert client.post(SPEECH, content=body).status_code in (200, 400, 413)


def test_requests_in_a_row_that_are_never_read(server: RunningServer, victim: Victim) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with dial(server) as connection:
        connection.settimeout(1)
        with suppress(TimeoutError):  # it is not read any more
            send_all(connection, request * 2_000)
