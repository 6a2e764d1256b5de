"""The way out: red at once while new requests are still served, then refused before the handshake."""

from __future__ import annotations

import asyncio
import signal
import time

from server.state import State
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
        server.state.live.add("held")
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
