"""Cartesia's `WS /tts/websocket`: contexts, each an utterance whose text comes in messages; audio as base64.

The first message of a context opens it and settles voice, format and speed. Contexts are heard at the same time, each
in its order. Nothing but its last message follows a cancel, and its name is free at once.
"""

from __future__ import annotations

import base64
import time
from collections import deque

from fastapi import WebSocket

from engines.messages import Cancelled, Failed, Finished, WaitingForText, WordTime
from server.errors import ApiError
from server.http.utterance_socket import SocketUtterance, UtteranceSocket
from server.http.websocket import Received, WebSocketChannel
from server.protocols.cartesia.errors import error_message
from server.protocols.cartesia.messages import (
    Cancellation,
    Generation,
    check,
    context_of,
    message_of,
    options,
    pronunciations,
)
from server.protocols.cartesia.words import WordTimes
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio, SpeechEvent
from server.state import State

_IDLE_S = 300.0  # Cartesia's
_UNREAD_FLUSHES = 64  # whose end has not been told


class _Context(SocketUtterance):
    def __init__(self, asked: Generation, speech: EncodedSpeech) -> None:
        super().__init__(speech)
        self.name = asked.context_id
        self._times = WordTimes() if asked.add_timestamps else None
        self._flushes: deque[tuple[int, int]] = deque()  # characters and commands before each that is not done
        self._flushes_done = 0
        self._heard = 0  # commands, all of whose text is spoken
        self._last_s = time.monotonic()
        self.failed = False  # an error was its last message

    def flush(self, *, asked: bool) -> None:
        """Raises ApiError when the client reads none of what it asks for."""
        self.speech.flush()
        if asked:
            if len(self._flushes) >= _UNREAD_FLUSHES:
                says = f"{len(self._flushes)} flushes of context {self.name!r} are not done; wait for 'flush_done'"
                raise ApiError("too_many_contexts", says, param="flush")
            self._flushes.append((len(self.speech.text), self.speech.sent_commands))

    def says(self, kind: str, **fields: object) -> dict[str, object]:
        return {"type": kind, "context_id": self.name, "done": False, "status_code": 206, **fields}

    def done(self, **fields: object) -> dict[str, object]:
        return self.says("done", **fields) | {"done": True, "status_code": 200}

    def chunk(self, data: bytes) -> dict[str, object]:
        now = time.monotonic()
        step_ms, self._last_s = 1000 * (now - self._last_s), now
        flushes = {"flush_id": self._flushes_done + 1} if self._flushes else {}
        return self.says("chunk", data=base64.b64encode(data).decode(), step_time=round(step_ms, 3), **flushes)

    def timestamps(self, words: tuple[WordTime, ...]) -> dict[str, object] | None:
        times = self._times.of(words, self.speech.text) if self._times is not None else {}
        return self.says("timestamps", word_timestamps=times) if times else None

    def flushed(self, *, before: int = 0, heard: int = 0) -> list[dict[str, object]]:
        """The flushes that are done once the text from character `before` on is next, or all of so many commands is
        spoken."""
        self._heard, done = max(self._heard, heard), list[dict[str, object]]()
        while self._flushes and (self._flushes[0][0] <= before or self._flushes[0][1] <= self._heard):
            self._flushes.popleft()
            self._flushes_done += 1
            done.append(self.says("flush_done", flush_id=self._flushes_done, flush_done=True))
        return done


class CartesiaSocket(UtteranceSocket):
    def __init__(self, channel: WebSocketChannel, socket: WebSocket, state: State) -> None:
        """Raises ApiError for a caller who is refused."""
        super().__init__(channel, state)
        self.idle_s = max(_IDLE_S, state.settings.idle_s)
        state.check_key(socket, socket.query_params.get("api_key"))
        self._contexts: dict[str, _Context] = {}  # that take text, or are still heard

    async def greet(self) -> None:
        pass  # nothing is sent before the first message

    async def handle(self, received: Received) -> None:
        message = message_of(received.text)
        match message:
            case Cancellation(context_id=name, played_ms=played_ms):
                if (context := self._contexts.pop(name, None)) is not None:
                    context.cancel(None if played_ms is None else played_ms / 1000)
            case Generation():
                await self._generate(message, received.received_s)

    async def _generate(self, asked: Generation, received_s: float) -> None:
        context = self._contexts.get(asked.context_id)
        if context is not None and context.text_ended:
            says = f"context {asked.context_id!r} takes no more text; wait for 'done' or use another id"
            raise ApiError("invalid_request", says, param="context_id")
        if context is None:
            if not asked.transcript.strip():
                if not asked.more:
                    ended = {"type": "done", "context_id": asked.context_id, "done": True, "status_code": 200}
                    self.answer(lambda: self._say(ended), asked.context_id)
                return
            context = await self._open(asked)
        context.append(asked.transcript, received_s)
        if asked.flush or (asked.max_buffer_delay_ms == 0 and asked.transcript.strip()):
            context.flush(asked=asked.flush)
            await self._say_all(context, context.flushed())  # where nothing is left to say of it
        if not asked.more:
            context.end()

    async def _open(self, asked: Generation) -> _Context:
        check(self.state, asked)
        if asked.output_format.container != "raw":
            message = f"container {asked.output_format.container!r} is not sent in messages; valid: raw"
            raise ApiError("invalid_parameter", message, param="output_format.container")
        self.state.check_text(asked.transcript, "transcript")
        chosen = await pronunciations(self.state, asked, asked.transcript)
        self.check_room()
        speech = EncodedSpeech(
            self.state,
            protocol="cartesia-ws",
            chosen_voice=self.state.chosen_voice(asked.voice_id),
            form=asked.output_format.form,
            seed=asked.seed,
            speed=asked.factor,
            options=options(self.state, asked),
            pronunciations=chosen,
            text_field="transcript",
        )
        context = self._contexts[asked.context_id] = _Context(asked, speech)
        self.add(context, context.name)
        return context

    # -- out -------------------------------------------------------------------------------------------------------

    async def pass_on(self, utterance: SocketUtterance, event: SpeechEvent) -> None:
        assert isinstance(utterance, _Context)
        match event:
            case Audio(data=data, words=words):
                if words:
                    await self._say_all(utterance, utterance.flushed(before=words[0].start_char))
                if data and await self.channel.send(utterance.chunk(data), utterance.outgoing):
                    spoken = utterance.speech.sent()
                    self.channel.keep_open_for(utterance.speech.lead_s)
                    if (times := utterance.timestamps(spoken)) is not None:
                        await self.channel.send(times, utterance.outgoing)
            case WaitingForText(heard=heard):
                await self._say_all(utterance, utterance.flushed(heard=heard))
            case Finished(warnings=warnings):
                self._free(utterance)
                await self._say_all(utterance, utterance.flushed(before=len(utterance.speech.text)))
                await self._say(utterance.done(**({"warnings": list(warnings)} if warnings else {})))
            case Cancelled() if not utterance.failed:
                position = utterance.speech.position
                texts = {"text_spoken": position.text_spoken, "text_remaining": position.text_remaining}
                texts["text_accuracy"] = position.text_accuracy
                await self._say(utterance.done(audio_ms=round(1000 * position.played_s, 2), **texts))
            case Failed():
                self._free(utterance)
                await self._tell(ApiError.of(event), utterance.name)

    async def _say_all(self, context: _Context, messages: list[dict[str, object]]) -> None:
        for message in messages:
            await self.channel.send(message, context.outgoing)

    async def _say(self, message: dict[str, object]) -> None:
        await self.channel.send(message)

    def _free(self, context: _Context) -> None:
        """Before its end is told: the client may use the name again at once."""
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    async def tell(self, error: ApiError, message: str | None = None) -> None:
        """An error is the last of its context: what spoke of it stops."""
        name = context_of(message)
        if name is not None and (context := self._contexts.pop(name, None)) is not None:
            context.failed = True
            context.cancel()
        await self._tell(error, name)

    async def _tell(self, error: ApiError, name: str | None) -> None:
        told = error_message(error, name)
        code = error.close_code(others_live=bool(self.live))
        if code is not None:
            await self.channel.close(code, error.code, last=told)
        await self.channel.send(told)
