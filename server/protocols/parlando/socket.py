"""`parlando.v1`: text in as it comes, binary audio and word times out, many contexts on one socket.

A connection is a task group: one reader, one speaker for each context that speaks, one that waits for the drain; when
the connection ends they all do, and every utterance is cancelled. A context's last event is written by its own speaker,
so nothing can follow it; its name is free before that event is sent. docs/wire.md is the contract.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Final

from engines.messages import Cancelled, Failed, Finished, Timings, WaitingForText, WordTime
from server.errors import ApiError
from server.http.websocket import Closed, Outgoing, Received, WebSocketChannel
from server.protocols.parlando.errors import error_message
from server.protocols.parlando.messages import (
    AppendMessage,
    CancelMessage,
    ClientMessage,
    EndMessage,
    FlushMessage,
    ResumeMessage,
    StartMessage,
    client_message,
)
from server.schemas import check_rate
from server.shutdown import DRAINING
from server.speech.events import Audio, SpeechEvent
from server.speech.resume import Resume, pieces
from server.speech.utterance import Utterance
from server.state import State

SUBPROTOCOL: Final = "parlando.v1"
_UNREAD_ENDINGS = 64  # cancelled utterances whose last event the client has not read yet


class _Context:
    """One utterance under its name."""

    def __init__(self, name: str | None, utterance: Utterance, words: bool) -> None:
        self.name, self.utterance, self.words = name, utterance, words
        self.outgoing = Outgoing()
        self.text_ended = False

    def cancel(self, played_s: float | None) -> None:
        self.utterance.cancel(played_s)
        self.outgoing.withdraw()

    def says(self, kind: str, **fields: object) -> dict[str, object]:
        """A message of this context; the unnamed one's carry no name."""
        named = {"context": self.name} if self.name is not None else {}
        return {"type": kind, **named, **fields}


class ParlandoConnection:
    def __init__(self, channel: WebSocketChannel, state: State) -> None:
        self._channel, self._state = channel, state
        self._contexts: dict[str | None, _Context] = {}  # by name; those that may still be written to
        self._speakers: set[asyncio.Task[None]] = set()  # those that may still write
        self._speakers_by_name: dict[str | None, asyncio.Task[None]] = {}  # the last of each name
        self._heard: str | None = None  # the context of the binary messages

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._leave_when_drained())
                while True:
                    await self._receive(group)
        except* Closed:
            pass

    # -- in --------------------------------------------------------------------------------------------------------

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        message: ClientMessage | None = None
        try:
            received = await self._channel.receive()
            message = client_message(received.text)
            await self._handle(message, received, group)
        except ApiError as error:
            self._state.refused(error)
            await self._tell(error, message.context if message is not None else None)

    async def _handle(self, message: ClientMessage, received: Received, group: asyncio.TaskGroup) -> None:
        match message:
            case StartMessage():
                await self._start(message, group)
            case ResumeMessage():
                await self._resume(message, received, group)
            case AppendMessage(text=text, context=name):
                if new := name not in self._contexts:
                    self._state.check_length(len(text))  # before an utterance is opened for it
                    await self._start(StartMessage(type="start", context=name), group)
                context = self._current(message)
                try:
                    context.utterance.append(text, received.received_s)
                except ApiError as error:
                    if not new:
                        raise
                    context.utterance.fail(error)
            case FlushMessage():
                self._current(message).utterance.flush()
            case EndMessage():
                context = self._current(message)
                context.text_ended = True
                context.utterance.end()
            case CancelMessage(played_ms=played_ms, context=name):
                # One that has ended in the meantime has nothing left to cancel. A new one may use its name from here.
                if (cancelled := self._contexts.pop(name, None)) is not None:
                    cancelled.cancel(None if played_ms is None else played_ms / 1000)

    async def _resume(self, message: ResumeMessage, received: Received, group: asyncio.TaskGroup) -> None:
        self._state.check_text(message.text, "text")
        *flushed, rest = pieces(message.text, message.flushes)
        await self._start(message, group, Resume(id=message.resume_id, from_sample=message.from_sample))
        context = self._contexts[message.context]
        for piece in flushed:
            context.utterance.append(piece, received.received_s)
            context.utterance.flush()
        context.utterance.append(rest, received.received_s)
        if message.ended:
            context.text_ended = True
            context.utterance.end()

    async def _start(
        self, message: StartMessage | ResumeMessage, group: asyncio.TaskGroup, resume: Resume | None = None
    ) -> None:
        state, name = self._state, message.context
        if name in self._contexts:
            says = "an utterance is in progress; send 'end' or 'cancel' and wait for its last event"
            raise ApiError("invalid_request", says)
        limit = state.settings.max_contexts
        if len(self._contexts) >= limit or len(self._speakers) >= limit + _UNREAD_ENDINGS:
            says = f"{len(self._contexts)} utterances are in progress on this socket, which is its limit; end one"
            raise ApiError("too_many_contexts", says, param="context")
        pronunciations = await state.dictionaries.chosen(message.pronunciations)
        state.check_accepting()
        utterance = Utterance(
            state,
            protocol=SUBPROTOCOL,
            casting=state.casting(message.voice, message.timbre),
            seed=message.seed,
            speed=message.speed,
            pitch_semitones=message.pitch_semitones,
            rate_hz=check_rate(message.sample_rate),
            temperature=message.temperature,
            pronunciations=pronunciations,
            leading_silence=message.leading_silence,
            resume=resume,
        )
        context = self._contexts[name] = _Context(name, utterance, message.words)
        predecessor = self._speakers_by_name.get(name)
        speaker = self._speakers_by_name[name] = group.create_task(self._speak(context, predecessor))
        self._speakers.add(speaker)
        speaker.add_done_callback(lambda ended: self._close(context, ended))

    def _current(self, message: AppendMessage | FlushMessage | EndMessage) -> _Context:
        context = self._contexts.get(message.context)
        if context is None:
            raise ApiError("invalid_request", f"{message.type!r} came before any text; send 'append' first")
        if context.text_ended:
            says = f"{message.type!r} came after 'end'; wait for 'done', then start another utterance"
            raise ApiError("invalid_request", says)
        return context

    # -- out -------------------------------------------------------------------------------------------------------

    async def _speak(self, context: _Context, predecessor: asyncio.Task[None] | None) -> None:
        """Sends one utterance's events until its last, once its predecessor of the same name has sent its own."""
        utterance = context.utterance
        if predecessor is not None:
            await asyncio.wait([predecessor])
        audio = {"encoding": "pcm_s16le", "sample_rate": utterance.rate_hz, "channels": 1}
        ids = {"request_id": utterance.id, "resume_id": utterance.name_without_text}
        started = context.says("started", **ids, seed=utterance.seed, audio=audio)
        await self._channel.send(started)
        while not await self._pass_on(context, await utterance.next()):
            pass

    async def _pass_on(self, context: _Context, event: SpeechEvent) -> bool:
        """Tells the client of an event. Returns whether it was the utterance's last."""
        utterance = context.utterance
        match event:
            case Audio(data=pcm):
                await self._send_audio(context, pcm)
            case WaitingForText(spoken_samples=samples):
                message = context.says("waiting_for_text", audio_ms=_ms(utterance.audio_s), samples=samples)
                await self._channel.send(message)
            case Finished(timings=timings, warnings=warnings):
                told = {"warnings": list(warnings)} if warnings else {}
                await self._last(context, _done(context, timings) | told)
            case Cancelled():
                await self._last(context, _cancelled(context))
            case Failed():
                self._free(context)
                await self._tell(ApiError.of(event), context.name)
        return isinstance(event, Finished | Cancelled | Failed)

    async def _send_audio(self, context: _Context, pcm: bytes) -> None:
        if not pcm:
            return
        if not await self._channel.send_audio(pcm, context.outgoing, lambda: self._announcement(context)):
            return  # it waited for a slow reader, and was cancelled
        words = context.utterance.sent(pcm)
        self._channel.keep_open_for(context.utterance.lead_s)
        if words and context.words:
            text = context.utterance.transcript.text
            await self._channel.send(context.says("words", words=[_word(word, text) for word in words]))

    def _announcement(self, context: _Context) -> dict[str, object] | None:
        if self._heard == context.name:
            return None
        self._heard = context.name
        return {"type": "audio", "context": context.name}

    async def _last(self, context: _Context, message: dict[str, object]) -> None:
        # Free before telling: a client may start its next utterance the moment it hears that this one is over.
        self._free(context)
        await self._channel.send(message)

    async def _tell(self, error: ApiError, name: str | None) -> None:
        message = error_message(error, name)
        code = error.close_code(others_live=bool(self._contexts))
        if code is not None:
            await self._channel.close(code, error.code, last=message)
        await self._channel.send(message)

    # -- end -------------------------------------------------------------------------------------------------------

    def _close(self, context: _Context, speaker: asyncio.Task[None]) -> None:
        """Its speaker is done, or never began: the connection ended first."""
        self._speakers.discard(speaker)
        if self._speakers_by_name.get(context.name) is speaker:
            del self._speakers_by_name[context.name]
        self._free(context)
        context.utterance.close()

    def _free(self, context: _Context) -> None:
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    async def _leave_when_drained(self) -> None:
        """A socket that speaks may finish; one that is idle is asked to connect elsewhere."""
        await self._state.shutdown.draining_begins()
        while self._speakers:
            await asyncio.wait(self._speakers)
        await self._tell(ApiError("draining", DRAINING), None)


def _done(context: _Context, timings: Timings) -> dict[str, object]:
    utterance = context.utterance
    return context.says(
        "done",
        request_id=utterance.id,
        id=utterance.utterance_id,
        seed=utterance.seed,
        audio_ms=_ms(utterance.audio_s),
        ttfa_ms=_ms(utterance.ttfa_s or 0.0),
        audible_ttfa_ms=None if utterance.audible_ttfa_s is None else _ms(utterance.audible_ttfa_s),
        timings=asdict(timings),
    )


def _cancelled(context: _Context) -> dict[str, object]:
    position = context.utterance.position
    return context.says(
        "cancelled",
        request_id=context.utterance.id,
        audio_ms=_ms(position.played_s),
        sent_ms=_ms(position.sent_s),
        text_spoken=position.text_spoken,
        text_remaining=position.text_remaining,
    )


def _word(word: WordTime, text: str) -> dict[str, object]:
    return {
        "text": text[word.start_char : word.end_char],
        "start_char": word.start_char,
        "end_char": word.end_char,
        "start_s": round(word.start_s, 6),
        "end_s": round(word.end_s, 6),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
