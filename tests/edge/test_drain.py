"""The way out: red at once while new requests are still served, then refused before the handshake."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from server.state import State
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say
from tests.edge.toy import AsgiSocket, serving, word_pcm
from tests.edge.toy_server import ToyServer

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_new_requests_are_served_until_balancers_have_noticed() -> None:
    async def scenario() -> None:
        async with serving(drain_delay_s=3600) as app:
            state: State = app.state.parlando
            draining = asyncio.create_task(state.drain())
            await asyncio.sleep(0)
            assert (state.ready, state.shutdown.draining) == (False, False)
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("append", text="late")
                socket.say("end")
                pcm, _ = await socket.hear("done")
                assert pcm == word_pcm("late")
            draining.cancel()

    asyncio.run(scenario())


def test_a_drain_is_over_when_the_last_utterance_is() -> None:
    async def scenario() -> None:
        async with serving() as app:
            state: State = app.state.parlando
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("append", text="one ")
                await socket.hear("waiting_for_text")
                hosts = [asyncio.create_task(state.drain()) for _ in range(2)]
                await asyncio.sleep(0)
                hosts[0].cancel()  # a host that no longer waits ends no drain
                socket.say("end")
                await socket.hear("done")
                assert await asyncio.wait_for(hosts[1], 10)

    asyncio.run(scenario())


def test_a_drain_tells_that_its_time_was_up() -> None:
    async def scenario() -> None:
        async with serving(drain_s=0.01) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="endless ")
            await socket.hear("waiting_for_text")
            assert not await app.state.parlando.drain()

    asyncio.run(scenario())


def test_a_draining_server_refuses_sockets_in_the_handshake() -> None:
    with ToyServer() as server:
        server.state.live.add("held", print)
        server.server.handle_exit(signal.SIGTERM, None)
        deadline_s = time.monotonic() + 10
        while not server.state.shutdown.draining:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        for path in (b"/v1/audio/speech/ws", b"/v1/text-to-speech/rms/stream-input", b"/nowhere"):
            answer = server.ask(HANDSHAKE % path).lower()
            assert answer.startswith(b"http/1.1 503 "), answer
            assert b"\r\nretry-after: 1\r\n" in answer
            assert b"the server is about to stop" in answer


def test_those_that_are_cut_are_told() -> None:
    async def scenario() -> None:
        async with serving(drain_s=0.01) as app, AsgiSocket(app, "parlando.v1") as socket:
            state: State = app.state.parlando
            socket.say("append", text="endless ")
            await socket.hear("waiting_for_text")
            assert not await state.drain()
            assert await state.shutdown.cut() == 1
            _, events = await socket.hear("error")
            assert events[-1]["code"] == "draining"

    asyncio.run(scenario())


@pytest.mark.parametrize("signals", [(signal.SIGHUP,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)])
def test_what_speaks_at_a_signal_ends_or_is_told(signals: tuple[signal.Signals, ...]) -> None:
    with RunningServer() as server, dial(server) as socket:
        say(socket, type="append", text="This is a reply that takes a while. " * 10)
        hear(socket, "words")
        for number in signals:
            server.process.send_signal(number)
            time.sleep(0.3)
        if signals == (signal.SIGHUP,):
            say(socket, type="end")
        _, events = hear(socket, "done", "error")
        assert events[-1].get("code") == (None if signals == (signal.SIGHUP,) else "draining")
        assert server.process.wait(30) == 0
        assert any('"event": "utterances_cut"' in line for line in server.lines) is (signals != (signal.SIGHUP,))
