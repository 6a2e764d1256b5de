"""A client that reads slowly, or never: its own stream pauses, and a cancel or a close does not wait behind audio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from server.http.websocket import Outgoing, Withdrawn
from tests.edge.toy import WORD_S, AsgiSocket, ToyEngine, serving, word_pcm


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def speak_unread(socket: AsgiSocket) -> None:
    """More words than an outbox of 8 holds."""
    text = " ".join(f"w{number}" for number in range(40)) + " "
    if socket.subprotocol == "parlando.v1":
        socket.say("start", words=False)
        socket.say("append", text=text)
    else:
        socket.say("request.start")
        socket.say("input_text.append", sequence=0, text=text)


def test_a_slow_reader_pauses_its_own_stream_only() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with (
            serving(toy, outbox_chunks=8) as app,
            AsgiSocket(app, "parlando.v1") as slow,
            AsgiSocket(app, "parlando.v1") as quick,
        ):
            spoken = [f"w{number}" for number in range(400)]
            slow.read.clear()
            for word in spoken:
                slow.say("append", text=word + " ")
            slow.say("end")
            quick.say("append", text="quick")
            quick.say("end")
            pcm, _ = await quick.hear("done")
            assert pcm == word_pcm("quick")
            assert await asyncio.to_thread(toy.paused.wait, 10)
            slow.read.set()
            pcm, _ = await slow.hear("done")
            assert pcm == b"".join(map(word_pcm, spoken))

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["parlando.v1", "nari.speech.v1"])
def test_what_waits_for_a_slow_reader_is_not_sent_after_a_cancel(protocol: str) -> None:
    """Two chunks are read, the third waits for room when the cancel comes."""

    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, outbox_chunks=8) as app, AsgiSocket(app, protocol) as socket:
            socket.audio_left = 2
            speak_unread(socket)
            assert await asyncio.to_thread(toy.paused.wait, 10)
            await until(lambda: not socket.read.is_set())
            socket.say("cancel" if protocol == "parlando.v1" else "response.cancel")
            assert await asyncio.to_thread(toy.cancelled.wait, 10)
            socket.audio_left = None
            socket.read.set()
            heard, events = await socket.hear("cancelled", "response.done")
            assert heard == word_pcm("w0") + word_pcm("w1")
            if protocol == "parlando.v1":
                assert events[-1]["sent_ms"] == pytest.approx(2000 * WORD_S)
            else:
                assert events[-1]["audio_chunks"] == 2

    asyncio.run(scenario())


def test_a_writer_that_has_been_woken_but_has_not_run_writes_nothing() -> None:
    async def scenario() -> None:
        room, outgoing, begun, written = asyncio.Event(), Outgoing(), asyncio.Event(), []

        async def write() -> None:
            begun.set()
            await room.wait()
            written.append("audio")

        writer = asyncio.create_task(outgoing.write(write(), 10))
        await begun.wait()
        room.set()
        outgoing.withdraw()
        with pytest.raises(Withdrawn):
            await writer
        assert written == []

    asyncio.run(scenario())


def test_a_close_does_not_wait_behind_unread_audio() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, outbox_chunks=8) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.audio_left = 1
            speak_unread(socket)
            assert await asyncio.to_thread(toy.paused.wait, 10)
            await until(lambda: not socket.read.is_set())
            socket.raw(bytes=b"\x00")
            registry = app.state.parlando.metrics.registry
            await until(lambda: registry.get_sample_value("tts_refusals_total", {"code": "unsupported_data"}) == 1)
            socket.read.set()
            pcm, events = await socket.hear("close")
            assert pcm == word_pcm("w0")
            assert [event.get("code") for event in events[-2:]] == ["unsupported_data", 1003]

    asyncio.run(scenario())


def test_a_reader_that_never_reads_is_given_up() -> None:
    async def scenario() -> None:
        async with serving(send_timeout_s=0.05) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.read.clear()
            socket.say("append", text="one two three ")
            await asyncio.wait_for(socket._running, 5)  # the handler leaves by itself

    asyncio.run(scenario())
