"""`/v1/audio/speech/ws`, subprotocol `parlando.v1`: text in as it comes, binary audio out, one utterance at a time.

A connection is a reader and a writer in one task group: when one ends, both end and the utterance is cancelled. Every
refusal names the field, the value and what would be right; docs/wire.md is the contract.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from engines.messages import Cancelled, Failed, Finished, WaitingForText
from server.errors import ApiError
from server.logs import get_logger
from server.schemas import (
    AppendMessage,
    CancelMessage,
    ClientMessage,
    EndMessage,
    FlushMessage,
    StartMessage,
    check_rate,
    client_message,
)
from server.state import State, state_of
from server.utterance import Spoken, Utterance

router = APIRouter()
log = get_logger()
SUBPROTOCOL = "parlando.v1"


class _Closed(Exception):
    """The connection is over, whoever ended it."""


class _Connection:
    def __init__(self, socket: WebSocket, state: State) -> None:
        self._socket, self._state = socket, state
        self._utterance: Utterance | None = None
        self._text_ended = self._cancelled = False
        self._words = True
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._receive(group)
        except* (_Closed, WebSocketDisconnect):
            pass
        finally:
            self._drop()

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        message = await self._socket.receive()
        received_s = time.monotonic()
        if message["type"] == "websocket.disconnect":
            raise _Closed
        text = message.get("text")
        try:
            if text is None:
                raise ApiError("unsupported_data", "binary messages are not understood; send JSON text")
            await self._handle(client_message(text), received_s, group)
        except ApiError as error:
            await self._tell_error(error)
            if error.kind.close is not None:
                await self._socket.close(error.kind.close, error.code)
                raise _Closed from error

    async def _handle(self, message: ClientMessage, received_s: float, group: asyncio.TaskGroup) -> None:
        match message:
            case StartMessage():
                await self._after_cancel()
                await self._start(message, group)
            case AppendMessage(text=text):
                await self._after_cancel()
                self._check_length(text)
                if self._utterance is None:
                    await self._start(StartMessage(type="start"), group)
                self._current(message.type).append(text, received_s)
            case FlushMessage():
                self._current(message.type).flush()
            case EndMessage():
                self._current(message.type).end()
                self._text_ended = True
            case CancelMessage():
                if self._utterance is not None:  # one that ended in the meantime has nothing left to cancel
                    self._cancelled = True
                    self._utterance.cancel()

    async def _after_cancel(self) -> None:
        """Text sent right behind a cancel belongs to the next utterance: the last one ends first."""
        if self._cancelled and self._speaking is not None:
            await asyncio.wait([self._speaking])

    def _check_length(self, text: str) -> None:
        limit = self._state.settings.max_characters
        total = len(text) + (self._utterance.characters if self._utterance is not None else 0)
        if total > limit:
            raise ApiError("text_too_long", f"the text has {total} characters, the limit is {limit}", param="text")

    async def _start(self, message: StartMessage, group: asyncio.TaskGroup) -> None:
        if self._utterance is not None:
            message_text = "an utterance is in progress; send 'end' or 'cancel' and wait for its last event"
            raise ApiError("invalid_request", message_text)
        state = self._state
        state.check_accepting()
        state.check_speed(message.speed)
        utterance = Utterance(
            state.engine,
            state.metrics,
            protocol="parlando.v1",
            voice=state.voice(message.voice),
            seed=message.seed,
            speed=message.speed,
            rate_hz=check_rate(message.sample_rate),
            temperature=message.temperature,
        )
        self._utterance, self._words = utterance, message.words
        self._text_ended = self._cancelled = False
        state.live.add(utterance.id)
        audio = {"encoding": "pcm_s16le", "sample_rate": utterance.rate_hz, "channels": 1}
        await self._send({"type": "started", "request_id": utterance.id, "seed": utterance.seed, "audio": audio})
        self._speaking = group.create_task(self._speak(utterance))

    def _current(self, kind: str) -> Utterance:
        if self._utterance is None or self._cancelled:
            raise ApiError("invalid_request", f"{kind!r} came before any text; send 'append' first")
        if self._text_ended:
            message = f"{kind!r} came after 'end'; wait for 'done', then start another utterance"
            raise ApiError("invalid_request", message)
        return self._utterance

    async def _speak(self, utterance: Utterance) -> None:
        """Sends one utterance's events until its last."""
        while True:
            event = await utterance.next()
            match event:
                case Spoken(pcm=pcm, event=chunk):
                    if pcm:
                        await self._send_audio(pcm)
                        utterance.sent(pcm)
                    if chunk.words and self._words:
                        await self._send({"type": "words", "words": [asdict(word) for word in chunk.words]})
                case WaitingForText(spoken_samples=samples):
                    await self._send(
                        {"type": "waiting_for_text", "audio_ms": _ms(utterance.audio_s), "samples": samples}
                    )
                case Finished(timings=timings):
                    rest = utterance.rest()
                    if rest:
                        await self._send_audio(rest)
                        utterance.sent(rest)
                    await self._last(
                        utterance,
                        {
                            "type": "done",
                            "request_id": utterance.id,
                            "seed": utterance.seed,
                            "audio_ms": _ms(utterance.audio_s),
                            "ttfa_ms": _ms(utterance.ttfa_s or 0.0),
                            "timings": asdict(timings),
                        },
                    )
                    return
                case Cancelled():
                    message = {"type": "cancelled", "request_id": utterance.id, "audio_ms": _ms(utterance.audio_s)}
                    await self._last(utterance, message)
                    return
                case Failed(code=code, message=text, retry_after_s=retry_after_s):
                    self._drop()
                    await self._tell_error(ApiError(code, text, retry_after_s=retry_after_s))
                    return

    async def _last(self, utterance: Utterance, message: dict[str, object]) -> None:
        # Free before telling: a client may start its next utterance the moment it hears that this one is over.
        if self._utterance is utterance:
            self._drop()
        await self._send(message)

    def _drop(self) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            utterance.close()
            self._state.live.discard(utterance.id)

    async def _tell_error(self, error: ApiError) -> None:
        message: dict[str, object] = {"type": "error", "code": error.code, "message": error.message}
        if error.param is not None:
            message["param"] = error.param
        if error.retry_after_s is not None:
            message["retry_after_s"] = error.retry_after_s
        await self._send(message)

    async def _send(self, message: dict[str, object]) -> None:
        await self._within_deadline(self._socket.send_json(message))

    async def _send_audio(self, pcm: bytes) -> None:
        await self._within_deadline(self._socket.send_bytes(pcm))

    async def _within_deadline(self, sending: object) -> None:
        try:
            async with asyncio.timeout(self._state.settings.send_timeout_s):
                await sending  # type: ignore[misc]
        except (TimeoutError, RuntimeError) as error:  # RuntimeError: starlette's word for a closed socket
            raise _Closed from error


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


@router.websocket("/v1/audio/speech/ws")
async def speech(socket: WebSocket) -> None:
    state = state_of(socket)
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        state.check_key(socket)
    except ApiError as error:
        await socket.send_json({"type": "error", "code": error.code, "message": error.message})
        await socket.close(1008, error.code)
        return
    await _Connection(socket, state).run()
