"""Messages over the pipe come whole and in order, however the bytes are cut."""

from __future__ import annotations

import socket
import threading

import pytest

from server.engine.pipe import EnginePipe, frame

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
