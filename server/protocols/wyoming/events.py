"""Wyoming's framing on one TCP connection: a JSON line, then data as JSON and a payload of the lengths that it tells.

    {"type": "synthesize", "data_length": 18}\\n   {"text": "Hello."}   payload

Reads are bounded in size and time, writes in time. Every call raises `Closed` once the connection is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from server.errors import ApiError
from server.http.websocket import Closed
from server.schemas import described, read_json
from server.state import State
from server.transport.token_bucket import TokenBucket

VERSION = "1.10.2"  # of the protocol
_EVENTS_PER_S, _BURST_EVENTS = 500, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    type: str
    data: dict[str, Any]
    received_s: float


class _Head(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: StrictStr
    data: dict[str, Any] = Field(default_factory=dict)
    data_length: StrictInt = Field(0, ge=0)
    payload_length: StrictInt = Field(0, ge=0)


class EventChannel:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State) -> None:
        """`reader` refuses lines above `max_message_bytes`."""
        self._reader, self._writer, self._state = reader, writer, state
        self._writing = asyncio.Lock()
        self._active_s = state.clock()
        self._pace = TokenBucket(_EVENTS_PER_S, _BURST_EVENTS, state.clock)

    async def receive(self) -> Event:
        """The next event. Raises ApiError for what is none, and when neither side has sent anything for `idle_s`."""
        if late_s := self._pace.take():
            await asyncio.sleep(late_s)
        await self._state.engine.room()
        receiving = asyncio.ensure_future(self._read())
        left_s = idle_s = self._state.settings.idle_s
        try:
            while left_s > 0:
                done, _ = await asyncio.wait([receiving], timeout=left_s)
                if done:
                    return receiving.result()
                left_s = self._active_s + idle_s - self._state.clock()
        except OSError as error:
            raise Closed from error
        finally:
            receiving.cancel()
        raise ApiError("idle_timeout", f"nothing was sent for {idle_s:g} s; connect again when there is text")

    async def _read(self) -> Event:
        try:
            line = await self._reader.readuntil(b"\n")
            received_s = self._state.clock()
            head = _parsed(line)
            data = await self._piece("data_length", head.data_length)
            await self._piece("payload_length", head.payload_length)  # nothing that is understood here has one
        except asyncio.IncompleteReadError as error:
            raise Closed from error
        except asyncio.LimitOverrunError as error:
            raise self._too_big(
                "the event's first line", f"more than {self._state.settings.max_message_bytes}"
            ) from error
        self._active_s = received_s
        more = _object(data) if data else {}
        return Event(type=head.type, data={**head.data, **more}, received_s=received_s)

    async def _piece(self, name: str, size: int) -> bytes:
        if size > self._state.settings.max_message_bytes:
            raise self._too_big(name, str(size))
        return await self._reader.readexactly(size)

    def _too_big(self, what: str, size: str) -> ApiError:
        limit = self._state.settings.max_message_bytes
        return ApiError("message_too_big", f"{what} is {size} bytes, the limit is {limit}")

    async def send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
        """Raises Closed when it is not read within `send_timeout_s`."""
        body = json.dumps(data, ensure_ascii=False).encode(errors="replace") if data else b""
        lengths = {"data_length": len(body), "payload_length": len(payload)}
        head = {"type": kind, "version": VERSION, **{name: size for name, size in lengths.items() if size}}
        try:
            async with self._writing, asyncio.timeout(self._state.settings.send_timeout_s):
                self._writer.write(json.dumps(head).encode() + b"\n" + body + payload)
                await self._writer.drain()
        except (TimeoutError, OSError) as error:
            self._writer.transport.abort()
            raise Closed from error
        self._active_s = max(self._active_s, self._state.clock())

    def keep_open_for(self, lead_s: float) -> None:
        """So long the client has something to play: it is not idle."""
        self._active_s = max(self._active_s, self._state.clock() + lead_s)

    async def close(self) -> None:
        """What was sent is still delivered, to a client that reads."""
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.close()
            async with asyncio.timeout(self._state.settings.send_timeout_s):
                await self._writer.wait_closed()
        self._writer.transport.abort()


def _parsed(line: bytes) -> _Head:
    try:
        return _Head.model_validate(_object(line))
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


def _object(raw: bytes) -> dict[str, Any]:
    try:
        read = read_json(raw)
    except ValueError as error:
        raise ApiError("invalid_message", f"an event is a line of JSON: {error}") from error
    if not isinstance(read, dict):
        raise ApiError("invalid_message", f"an event is a JSON object, got {type(read).__name__}")
    return read
