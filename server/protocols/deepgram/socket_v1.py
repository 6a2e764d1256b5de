"""Deepgram's `WS /v1/speak`: Speak, Flush, Clear, Close in, binary audio and Flushed, Cleared, Warning out.

A flush ends an utterance; text behind it begins the next. `Flushed` follows the last sample of its text, `Cleared`
follows nothing: what was cleared is not sent any more, nor its `Flushed`, which names no text: a client would take it
for that of the next. An error is told and closes.
"""

from __future__ import annotations

import uuid
from functools import partial

from fastapi import WebSocket

from engines.messages import Failed, Finished
from server.errors import ApiError
from server.http.utterance_socket import SocketUtterance, UtteranceSocket
from server.http.websocket import Received, WebSocketChannel
from server.protocols.deepgram.errors import v1_message
from server.protocols.deepgram.messages import (
    V1_FORMS,
    Clear,
    Close,
    Flush,
    SocketQuery,
    Speak,
    V1Message,
    message_of,
    parsed,
    spoken_by,
)
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio, SpeechEvent
from server.state import State

IDLE_S = 3_600.0  # Deepgram's: its clients keep sockets for later


class SpeakV1(UtteranceSocket):
    def __init__(self, channel: WebSocketChannel, socket: WebSocket, state: State) -> None:
        """Raises ApiError for a caller or an address that is refused."""
        super().__init__(channel, state)
        self.idle_s = max(IDLE_S, state.settings.idle_s)
        state.check_key(socket)
        self._query = parsed(SocketQuery, dict(socket.query_params))
        self._form = self._query.form
        self._chosen_voice, self._options = spoken_by(state, self._query.model)
        self._utterance: SocketUtterance | None = None  # takes text
        self._sequence = 0  # of flushes and clears
        self._clears = 0
        self._closing = False

    async def greet(self) -> None:
        bundle = self.state.bundle
        await self.channel.send(
            {
                "type": "Metadata",
                "request_id": f"req-{uuid.uuid4().hex}",
                "model_name": bundle.name,
                "model_version": bundle.digest,
                "model_uuid": bundle.digest,
            }
        )

    async def handle(self, received: Received) -> None:
        message: V1Message = message_of(received.text, V1_FORMS)
        if self._closing:
            return
        match message:
            case Speak(text=text):
                self._append(text, received.received_s)
            case Flush():
                self._end_utterance()
                self.answer(partial(self._flushed, self._clears))
            case Clear():
                self._utterance, self._clears = None, self._clears + 1
                for utterance in self.live:
                    utterance.cancel()
                self.answer(lambda: self._numbered("Cleared"))
            case Close():
                self._end_utterance()
                self._closing = True
                self.answer(lambda: self.channel.close(1000))

    def _append(self, text: str, received_s: float) -> None:
        if self._utterance is None and text.strip():
            self.check_room()
            self.state.check_text(text, "text")
            speech = EncodedSpeech(
                self.state,
                protocol="deepgram-v1",
                chosen_voice=self._chosen_voice,
                form=self._form,
                speed=self._query.speed,
                options=self._options,
            )
            self._utterance = SocketUtterance(speech)
            self.add(self._utterance)
        if self._utterance is not None:
            self._utterance.append(text, received_s)

    def _end_utterance(self) -> None:
        if self._utterance is not None:
            self._utterance.end()
        self._utterance = None

    async def _flushed(self, clears: int) -> None:
        """`clears`: before it was asked for."""
        if clears == self._clears:
            await self._numbered("Flushed")

    async def _numbered(self, kind: str) -> None:
        sequence, self._sequence = self._sequence, self._sequence + 1
        await self.channel.send({"type": kind, "sequence_id": sequence})

    async def pass_on(self, utterance: SocketUtterance, event: SpeechEvent) -> None:
        match event:
            case Audio(data=data) if data:
                if await self.channel.send_audio(data, utterance.outgoing):
                    utterance.speech.sent()
                    self.channel.keep_open_for(utterance.speech.lead_s)
            case Finished(warnings=warnings):
                for warning in warnings:
                    await self.channel.send({"type": "Warning", "code": "TEXT_LEFT_OUT", "description": warning})
            case Failed():
                await self.tell(ApiError.of(event))

    async def tell(self, error: ApiError, message: str | None = None) -> None:
        await self.tell_and_close(error, v1_message(error))
