"""Messages that a client may send and that none needs: what is measured by `python -m loadtests --attacks` spares a
listener, and what each kind may hold is bounded."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time

from loadtests.attacks import ATTACKS
from loadtests.attacks.attack import under_way
from loadtests.attacks.protocols import ATTACKS as OF_PROTOCOLS
from server.metrics import Metrics
from server.protocols.realtime.socket import RealtimeSocket
from tests.attacks.sockets import TEXT, frame, send_all, websocket
from tests.attacks.test_crowds import LONG, until_streams
from tests.attacks.victim import Victim, spared
from tests.edge.conftest import RunningServer, free_port
from tests.edge.toy import AsgiSocket, serving
from tests.edge.toy_server import ToyServer, heard

UNDER_WAY_S = 2.0
WYOMING_PORT = free_port()
TOO_MUCH = [
    b'{"type": "synthesize", "data_length": 99999999999}\n',
    b'{"type": "synthesize", "payload_length": 99999999999}\n',
    b'{"type": "synthesize", "data_length": -1}\n',
    b'{"type": "describe"' + b" " * 2**21,
    b"[" * 60_000 + b"\n",
    b'{"type": "synthesize-start"}\n' * 3,
    b'{"type": "synthesize", "data": {"text": "Again and again."}}\n' * 100,
]
GET = b"GET /health?%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_attacks_that_are_measured(server: RunningServer, victim: Victim) -> None:
    """All under one listener: each has its turn."""
    assert set(OF_PROTOCOLS) <= set(ATTACKS)
    for attack in OF_PROTOCOLS:
        with under_way(attack, server.url):
            time.sleep(UNDER_WAY_S)


def test_scrapes_share_an_exposition_and_none_is_older_than_its_call() -> None:
    async def scenario() -> None:
        metrics, made = Metrics(), 0
        expose = metrics.exposition

        def counted() -> bytes:
            nonlocal made
            made += 1
            return expose()

        metrics.exposition = counted  # type: ignore[method-assign]
        await metrics.scraped()
        metrics.audio_s.inc()
        answers = await asyncio.gather(*(metrics.scraped() for _ in range(100)))
        assert made == 2
        assert all(b"tts_audio_seconds_total 1.0" in answer for answer in answers)

    asyncio.run(scenario())


def test_an_address_has_so_many_parameters() -> None:
    with ToyServer() as server:
        assert server.ask(GET % b"&".join([b"a=1"] * 100)).startswith(b"HTTP/1.1 200 ")
        received = server.ask(GET % b"&".join([b"a=1"] * 101))
        assert received.startswith(b"HTTP/1.1 431 ")
        assert b"the address has 101 parameters, the limit is 100" in received


def test_items_without_text_are_not_kept() -> None:
    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app, path="/v1/realtime", query="model=gpt-realtime") as client:
            for _ in range(200):
                client.say("conversation.item.create", item={"type": "message", "role": "user", "content": []})
            while (told := await client.recv())["type"] != "error":  # type: ignore[call-overload]
                if told["type"] == "conversation.item.done":  # type: ignore[call-overload]
                    client.say("no such event")
            sockets = (one for one in gc.get_objects() if type(one) is RealtimeSocket)  # asks no lazy module
            (held,) = (one for one in sockets if one.state is app.state.parlando)
            assert len(held._pending) == 0

    asyncio.run(scenario())


def test_flushes_that_are_not_read_are_bounded(server: RunningServer, victim: Victim) -> None:
    path = "/tts/websocket?cartesia_version=2026-03-01"
    form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
    asked = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "rms"}, "output_format": form, "context_id": "a"}
    with websocket(server, path) as connection:
        for text in (LONG[:3_000], *[""] * 500):
            message = json.dumps(asked | {"transcript": text, "continue": True, "flush": True})
            connection.sendall(frame(TEXT, message.encode()))
        told = connection.makefile("rb")
        held = b""
        while b"flushes of context 'a' are not done" not in held[-2_000:]:
            held += told.read1(65_536)


def test_sockets_that_close_one_way_give_their_places_back(server: RunningServer, victim: Victim) -> None:
    """Half of a connection is none to speak on."""
    for _ in range(10):
        with websocket(server, "/v1/audio/speech/ws", "Sec-WebSocket-Protocol: parlando.v1") as connection:
            connection.sendall(frame(TEXT, json.dumps({"type": "append", "text": LONG[:3_000]}).encode()))
            connection.shutdown(socket.SHUT_WR)
            until_streams(server, 1)


def test_wyoming_ends_what_asks_for_too_much() -> None:
    with RunningServer(wyoming_port=str(WYOMING_PORT)) as server:
        with spared(server):
            for sent in TOO_MUCH:
                with socket.create_connection(("127.0.0.1", WYOMING_PORT), timeout=60) as connection:
                    send_all(connection, sent)
                    told = heard(connection)  # it comes to an end
                    assert not told or b'"error"' in told, sent[:60]  # unread bytes may take it along
        assert server.stop() == 0
