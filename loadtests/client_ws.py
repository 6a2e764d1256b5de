"""One listener on one WebSocket: sends its text by the schedule, stamps what comes, judges nothing.

It is a plain asyncio protocol over the sans-io half of `websockets`: stamps are taken where the bytes arrive, and a
stream costs no task. It speaks the wire of docs/wire.md and knows nothing else of the server.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from loadtests.arrivals import Planned
from loadtests.recording import RATE_HZ, End, Recording

PATH = "/v1/audio/speech/ws"
_SUBPROTOCOL = Subprotocol("parlando.v1")
_NO_ROOM_STATUS = (429, 503)
_NO_ROOM_CLOSE = 1013
_NO_ROOM_CODES = ("overloaded", "not_ready")
_EARLY_S = 0.001  # a loop's timers may be a millisecond early


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One send of the script."""

    at_s: float
    messages: tuple[bytes, ...]
    last: bool


def script(planned: Planned) -> tuple[Step, ...]:
    """All sends of one stream, written before the run."""
    start = _message(type="start", seed=planned.text.seed, sample_rate=RATE_HZ, words=False)
    end = _message(type="end")
    gap_s, words = planned.feeding.word_gap_s, planned.text.words
    if not gap_s:
        append = _message(type="append", text=planned.text.text)
        return (Step(at_s=planned.at_s, messages=(start, append, end), last=True),)
    steps = []
    for index, word in enumerate(words):
        last = index == len(words) - 1
        append = _message(type="append", text=word if last else word + " ")
        messages = ((start,) if index == 0 else ()) + (append,) + ((end,) if last else ())
        steps.append(Step(at_s=planned.at_s + index * gap_s, messages=messages, last=last))
    return tuple(steps)


def _message(**fields: object) -> bytes:
    return json.dumps(fields).encode()


class Listener(asyncio.Protocol):
    """`clock` gives seconds since the level began; `sent_late` hears how late each send was for the client's own fault;
    `ended` is called once, when the stream is over."""

    def __init__(
        self,
        planned: Planned,
        uri: WebSocketURI,
        clock: Callable[[], float],
        sent_late: Callable[[float], None],
        ended: Callable[[Listener], None],
    ) -> None:
        self.planned = planned
        self.recording = Recording(index=planned.index, opened_s=clock())
        self._steps = script(planned)
        self._next = 0
        self._ws = ClientProtocol(uri, subprotocols=[_SUBPROTOCOL], max_size=4 * 2**20)
        self._clock, self._sent_late, self._ended = clock, sent_late, ended
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._partial = b""
        self._binary = False

    @property
    def over(self) -> bool:
        return self.recording.ended_s is not None

    @property
    def _may_send(self) -> bool:
        """Not while the server's close waits to be read: it may come in one packet with the handshake."""
        return self._ws.state is State.OPEN

    def give_up(self, why: str) -> None:
        """Ends the stream from the client's side."""
        self._finish(self._clock(), End.FAILED, why)
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._ws.send_request(self._ws.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        now_s = self._clock()
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Response):
                self._answered(event, now_s)
            elif isinstance(event, Frame):
                self._frame(event, now_s)
        self._flush()

    def eof_received(self) -> None:
        self._ws.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over:
            self._finish(self._clock(), End.FAILED, f"connection lost: {exc}")

    # -- receiving -------------------------------------------------------------------------------------------------

    def _answered(self, response: Response, now_s: float) -> None:
        error = self._ws.handshake_exc
        if error is None:
            self.recording.connected_s = now_s
            self._send_due()
            if self.planned.cancel_after_s is not None:
                self._at(self.planned.at_s + self.planned.cancel_after_s, self._cancel)
            return
        no_room = isinstance(error, InvalidStatus) and response.status_code in _NO_ROOM_STATUS
        self._finish(now_s, End.REFUSED if no_room else End.FAILED, f"handshake: {error}")

    def _frame(self, frame: Frame, now_s: float) -> None:
        if frame.opcode is Opcode.BINARY or (frame.opcode is Opcode.CONT and self._binary):
            self._binary = True
            self._audio(frame.data, now_s)
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            self._binary = False
            self._partial += bytes(frame.data)
            if frame.fin:
                text, self._partial = self._partial, b""
                self._event(json.loads(text), now_s)
        elif frame.opcode is Opcode.CLOSE and not self.over:
            code, reason = self._ws.close_code, self._ws.close_reason
            self._finish(now_s, End.REFUSED if code == _NO_ROOM_CLOSE else End.FAILED, f"closed: {code} {reason}")

    def _audio(self, pcm: bytes | bytearray | memoryview, now_s: float) -> None:
        recording = self.recording
        if self.over:
            recording.end, recording.detail = End.FAILED, "audio after the last event"
            return
        recording.chunk_at_s.append(now_s)
        recording.chunk_bytes.append(len(pcm))
        recording.checksum = zlib.crc32(pcm, recording.checksum)
        recording.keep_head(pcm)

    def _event(self, event: dict[str, object], now_s: float) -> None:
        recording, kind = self.recording, event["type"]
        if kind == "waiting_for_text":
            recording.waiting.append((len(recording.chunk_at_s), now_s))
        elif kind == "done" or kind == "cancelled":
            audio_ms = event["audio_ms"]
            assert isinstance(audio_ms, int | float)
            recording.told_audio_ms = audio_ms
            self._finish(now_s, End.DONE if kind == "done" else End.CANCELLED)
        elif kind == "error":
            no_room = event["code"] in _NO_ROOM_CODES
            self._finish(now_s, End.REFUSED if no_room else End.FAILED, f"{event['code']}: {event['message']}")

    def _finish(self, now_s: float, end: End, detail: str = "") -> None:
        if self.over:
            return
        self.recording.finish(now_s, end, detail)
        for timer in self._timers:
            timer.cancel()
        if self._may_send and self._transport is not None:
            self._ws.send_close(1000)
            self._flush()
        self._ended(self)

    # -- sending ---------------------------------------------------------------------------------------------------

    def _send_due(self) -> None:
        """Sends every step whose time has come, then waits for the next one's."""
        connected_s = self.recording.connected_s
        assert connected_s is not None
        while self._next < len(self._steps) and not self.over and self._may_send:
            step, now_s = self._steps[self._next], self._clock()
            if step.at_s - now_s > _EARLY_S:
                self._at(step.at_s, self._send_due)
                return
            self._next += 1
            self._sent_late(max(0.0, now_s - max(step.at_s, connected_s)))
            self.recording.text_at_s.append(now_s)
            if step.last:
                self.recording.all_text_s = now_s
            for message in step.messages:
                self._ws.send_text(message)
            self._flush()

    def _cancel(self) -> None:
        if self.over or not self.recording.text_at_s or not self._may_send:
            return
        self._next = len(self._steps)
        self.recording.cancel_s = self._clock()
        self._ws.send_text(_message(type="cancel"))
        self._flush()

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(max(0.0, at_s - self._clock()), act))

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._ws.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
