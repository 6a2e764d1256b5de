"""Deepgram's `WS /v2/speak`: utterances, and an interruption that tells what was heard, to the word.

    session   |-- first --|---- second ----|- third         milliseconds of all audio since the session began
    Interrupt                     ^ playback_offset         the second is the one that was heard in part

Utterances that the client may not have heard to their end are remembered until the next interrupt. From then on the
session counts from what the client has played. An error is told and closes.
"""

from __future__ import annotations

import uuid
from collections import deque

from fastapi import WebSocket

from engines.messages import Failed, Finished
from server.errors import ApiError
from server.http.utterance_socket import SocketUtterance, UtteranceSocket
from server.http.websocket import Received, WebSocketChannel
from server.protocols.deepgram.errors import v2_message
from server.protocols.deepgram.messages import (
    V2_FORMS,
    Close,
    Configure,
    Flush,
    Interrupt,
    SocketQuery,
    Speak,
    V2Message,
    message_of,
    parsed,
    spoken_by,
)
from server.protocols.deepgram.socket_v1 import IDLE_S
from server.schemas import MAX_SPEED, MIN_SPEED
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio, SpeechEvent
from server.state import State

_REMEMBERED = 64  # utterances whose hearing an interrupt may still tell of


class _SpeechUtterance(SocketUtterance):
    def __init__(self, speech: EncodedSpeech) -> None:
        super().__init__(speech)
        self.id = f"dg_sp_{uuid.uuid4().hex[:12]}"

    @property
    def metadata(self) -> dict[str, object]:
        characters = len(self.speech.text)
        applied = {"pronunciations_applied": 0, "breaks_applied": 0, "pronunciation_warnings": 0}
        return {
            "speech_id": self.id,
            "audio_duration_ms": round(1000 * self.speech.audio_s),
            "input_character_count": characters,
            "billable_character_count": characters,
            "controls_applied": applied,
        }


class SpeakV2(UtteranceSocket):
    def __init__(self, channel: WebSocketChannel, socket: WebSocket, state: State) -> None:
        """Raises ApiError for a caller or an address that is refused."""
        super().__init__(channel, state)
        self.idle_s = max(IDLE_S, state.settings.idle_s)
        state.check_key(socket)
        query = parsed(SocketQuery, dict(socket.query_params))
        self._form, self._speed = query.form, query.speed
        self._chosen_voice, self._options = spoken_by(state, query.model)
        self._utterance: _SpeechUtterance | None = None  # takes text
        self._blank = ""  # text of a turn that has no other
        self._unheard: deque[_SpeechUtterance] = deque()  # may not have been played to the end
        self._before_s = 0.0  # of the session's audio, before those
        self._characters = 0
        self._closing = False

    async def greet(self) -> None:
        bundle = self.state.bundle
        await self.channel.send(
            {
                "type": "Connected",
                "request_id": f"req-{uuid.uuid4().hex}",
                "model_name": bundle.name,
                "model_version": bundle.digest,
                "model_uuids": [bundle.digest],
            }
        )

    async def handle(self, received: Received) -> None:
        message: V2Message = message_of(received.text, V2_FORMS)
        if self._closing:
            return
        match message:
            case Speak(text=text):
                self._append(text, received.received_s)
            case Flush() if self._utterance is None and not self._blank:
                await self._warn("NO_ACTIVE_SPEECH", "a flush without text before it; send Speak first")
            case Flush():
                self._end_utterance()
            case Interrupt():
                await self._interrupt(message)
            case Configure(speed=speed):
                await self._configure(speed)
            case Close():
                self._end_utterance()
                self._closing = True
                self.answer(self._say_goodbye)

    # -- utterances -----------------------------------------------------------------------------------------------

    def _append(self, text: str, received_s: float) -> None:
        """A blank alone opens no utterance, which would have to end in time: only its flush does."""
        if self._utterance is None and not text.strip():
            self._blank = self._blank or text
        else:
            self._say_text(text, received_s)

    def _say_text(self, text: str, received_s: float) -> None:
        self._blank = ""
        if self._utterance is None:
            self.check_room()
            self.state.check_text(text, "text")
            speech = EncodedSpeech(
                self.state,
                protocol="deepgram-v2",
                chosen_voice=self._chosen_voice,
                form=self._form,
                speed=self._speed,
                options=self._options,
                may_be_silent=False,  # no sound, a warning and the usual end are Deepgram's words for it
            )
            utterance = self._utterance = _SpeechUtterance(speech)
            if len(self._unheard) == _REMEMBERED:
                self._before_s += self._unheard.popleft().speech.audio_s
            self._unheard.append(utterance)
            self.answer(lambda: self._say_started(utterance))
            self.add(utterance)
        if self._utterance is not None:
            self._utterance.append(text, received_s)
            self._characters += len(text)

    def _end_utterance(self) -> None:
        if self._blank:
            self._say_text(self._blank, self.state.clock())
        if self._utterance is not None:
            self._utterance.end()
        self._utterance = None

    async def pass_on(self, utterance: SocketUtterance, event: SpeechEvent) -> None:
        assert isinstance(utterance, _SpeechUtterance)
        match event:
            case Audio(data=data) if data:
                if await self.channel.send_audio(data, utterance.outgoing):
                    utterance.speech.sent()
                    self.channel.keep_open_for(utterance.speech.lead_s)
            case Finished(warnings=warnings):
                for warning in warnings:
                    await self._warn("TEXT_LEFT_OUT", warning)
                await self._say_ended(utterance)
            case Failed(code="unspeakable_text", message=message):
                await self._warn("NO_SYNTHESIZABLE_TEXT", message)
                await self._say_ended(utterance)
            case Failed():
                await self.tell(ApiError.of(event))

    async def _say_started(self, utterance: _SpeechUtterance) -> None:
        if not utterance.outgoing.withdrawn:
            await self._say("SpeechStarted", speech_id=utterance.id)

    async def _say_ended(self, utterance: _SpeechUtterance) -> None:
        await self._say("SpeechMetadata", **utterance.metadata)
        await self._say("Flushed", speech_id=utterance.id)

    # -- interruptions ---------------------------------------------------------------------------------------------

    async def _interrupt(self, message: Interrupt) -> None:
        offset = message.playback_offset
        offset_s = None if offset is None else offset.value / 1000
        if offset_s is not None and offset_s < self._before_s:
            says = f"the session has been played to {1000 * self._before_s:.0f} ms before; got {offset_s * 1000:.0f}"
            await self._warn("INVALID_INTERRUPT_OFFSET", says)
            return
        heard_s, at = self._before_s, 0
        for utterance in self._unheard:
            ends_s = heard_s + utterance.speech.audio_s
            if not utterance.over or (offset_s is not None and offset_s < ends_s):
                break
            heard_s, at = ends_s, at + 1
        utterances = list(self._unheard)[at:]
        if not utterances:
            await self._warn("NO_ACTIVE_SPEECH", "nothing speaks, and all that was sent has been played")
            return
        played_s = None if offset_s is None else offset_s - heard_s
        utterances[0].cancel(played_s)
        for utterance in utterances[1:]:
            utterance.cancel(0.0)
        # What is queued in front is cancelled or over, so that this is sent at once, when nothing more can be sent.
        self.answer(lambda: self._say_interrupted(utterances, heard_s, told=played_s is not None))
        self._utterance, self._blank = None, ""
        self._unheard.clear()

    async def _say_interrupted(self, utterances: list[_SpeechUtterance], before_s: float, *, told: bool) -> None:
        """`utterances`: the one that was heard in part, and those that waited behind it."""
        position = utterances[0].speech.position
        texts = dict[str, str]()
        if told:
            waiting = "".join(utterance.speech.text for utterance in utterances[1:])
            texts = {"text_spoken": position.text_spoken, "text_remaining": position.text_remaining + waiting}
            texts["text_accuracy"] = position.text_accuracy
        self._before_s = before_s + (position.played_s if told else position.sent_s)
        played_ms = round(1000 * self._before_s)
        await self._say("SpeechInterrupted", audio_played_ms=played_ms, **texts, metadata=utterances[0].metadata)

    async def _configure(self, speed: float | None) -> None:
        """Of the utterances that begin from here on."""
        if speed is not None and not MIN_SPEED <= speed <= MAX_SPEED:
            says = f"speed {speed:g} is not offered; valid: {MIN_SPEED:g} to {MAX_SPEED:g}"
            await self._say("ConfigureFailure", code="SPEED_OUT_OF_RANGE", field="speed", value=speed, description=says)
            return
        self._speed = self._speed if speed is None else speed
        await self._say("ConfigureSuccess", applied={"speed": self._speed})

    # -- out -------------------------------------------------------------------------------------------------------

    async def _say_goodbye(self) -> None:
        audio_s = self._before_s + sum(utterance.speech.audio_s for utterance in self._unheard)
        last: dict[str, object] = {
            "type": "SessionMetadata",
            "total_audio_duration_ms": round(1000 * audio_s),
            "total_input_character_count": self._characters,
            "total_billable_character_count": self._characters,
        }
        await self.channel.close(1000, last=last)

    async def _warn(self, code: str, description: str) -> None:
        await self._say("Warning", code=code, description=description)

    async def _say(self, kind: str, **fields: object) -> None:
        await self.channel.send({"type": kind, **fields})

    async def tell(self, error: ApiError, message: str | None = None) -> None:
        await self.tell_and_close(error, v2_message(error))
