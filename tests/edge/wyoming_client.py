"""A client of Wyoming's that is a bare socket: events in, events out, payloads as they are."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Heard:
    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


class WyomingClient:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> WyomingClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._file.close()
        self.socket.close()

    def say(self, kind: str, *, inline: bool = False, payload: bytes = b"", **data: object) -> None:
        """`inline`: the data within the line, as older clients write it."""
        body = b"" if inline else json.dumps(data).encode()
        head = {"type": kind, "version": "1.10.2", "data_length": len(body) or None}
        head |= {"data": data} if inline else {}
        head |= {"payload_length": len(payload)} if payload else {}
        self.socket.sendall(json.dumps(head).encode() + b"\n" + body + payload)

    def hear(self) -> Heard | None:
        """None: the server has closed."""
        line = self._file.readline()
        if not line:
            return None
        head = json.loads(line)
        data = json.loads(self._file.read(head["data_length"])) if head.get("data_length") else {}
        return Heard(head["type"], data, self._file.read(head.get("payload_length", 0)))

    def hear_until(self, *last: str) -> tuple[bytes, list[Heard]]:
        """The audio, and all events without their payloads."""
        pcm, events = b"", []
        while True:
            event = self.hear()
            assert event is not None, f"closed behind {events[-3:]}"
            pcm += event.payload
            events.append(Heard(event.type, event.data))
            if event.type in last:
                return pcm, events
