"""Messages over the pipe come whole and in order, however the bytes are cut."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import load_bundle
from engines.messages import Append, Chunk, EndText, Failed, Finished, Started, Submit
from server.engine.pipe import EnginePipe, Fault, Ready, Told, frame, receive
from tests.engine.driving import settle

MESSAGES = [{"n": n, "body": b"x" * (n * 7919 % 100_000)} for n in range(40)]


def test_nothing_there_is_no_message_and_no_wait() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        pipe = EnginePipe(theirs)
        assert pipe.received() == []
        ours.send(frame("whole")[:3])
        assert pipe.received() == []
        ours.send(frame("whole")[3:] + frame("next")[:-1])
        assert pipe.received() == ["whole"]
        ours.send(frame("next")[-1:])
        assert pipe.received() == ["next"]
        pipe.close()


def test_many_and_large_messages_come_in_order() -> None:
    ours, theirs = socket.socketpair()
    pipe, found = EnginePipe(theirs), []
    writer = threading.Thread(target=lambda: [ours.sendall(frame(message)) for message in MESSAGES])
    writer.start()
    while len(found) < len(MESSAGES):
        found += pipe.received()
    writer.join()
    assert found == MESSAGES
    ours.close()
    with pytest.raises(EOFError):
        pipe.received()
    pipe.close()


def test_all_that_an_engine_tells_comes_as_it_was() -> None:
    bundle = load_bundle(Path("flite"))
    engine = load_engine(bundle, EngineConfig(slots=2, workers=False))
    engine.submit(Submit(request_id="good", voice=bundle.voices[0].id, seed=1))
    engine.submit(Append(request_id="good", text="It was cold. 山"))
    engine.submit(EndText(request_id="good"))
    engine.submit(Submit(request_id="bad", voice="unknown \ud800", seed=1))
    told: list[Told] = [Ready(spec=engine.spec), settle(engine), [engine.stats()], Fault(traceback="Ключ")]
    assert {type(one) for one in told[1]} >= {Started, Chunk, Finished, Failed}  # type: ignore[union-attr]

    async def crossed() -> list[Told]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        pipe = EnginePipe(theirs)
        for one in told:
            pipe.send(one)
        found = [await receive(reader) for _ in told]
        pipe.close()
        writer.close()
        return found

    assert asyncio.run(crossed()) == told
