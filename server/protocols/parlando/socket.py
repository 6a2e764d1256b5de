"""`parlando.v1`: text in as it comes, binary audio and word times out, many contexts on one socket.

A connection is a task group: one reader, one speaker for each context that speaks, one that waits for the drain; when
the connection ends they all do, and every utterance is cancelled. A context's last event is written by its own speaker,
so nothing can follow it; its name is free before that event is sent. docs/wire.md is the contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from engines.messages import Cancelled, Failed, Finished, WaitingForText, WordTime
from server.access import current_caller
from server.errors import ApiError
from server.http.websocket import Closed, Received, WebSocketChannel
from server.protocols.parlando.context import Context, cancelled, done, ms, word_of
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
from server.speech.kept import Resumable
from server.speech.model_options import chosen
from server.speech.resume import Resume, pieces
from server.speech.utterance import Utterance
from server.state import State

SUBPROTOCOL: Final = "parlando.v1"
_UNREAD_ENDINGS = 64  # cancelled utterances whose last event the client has not read yet


class ParlandoConnection:
    def __init__(self, channel: WebSocketChannel, state: State) -> None:
        self._channel, self._state = channel, state
        self._contexts: dict[str | None, Context] = {}  # by name; those that may still be written to
        self._speakers: set[asyncio.Task[None]] = set()  # those that may still write
        self._speakers_by_name: dict[str | None, asyncio.Task[None]] = {}  # the last of each name
        self._heard: str | None = None  # the context of the binary messages
        self._broken_off: list[Resumable] = []

    async def run(self) -> None:
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._leave_when_drained())
                    while True:
                        await self._receive(group)
            except* Closed:
                pass
            if self._broken_off and await self._channel.was_cut():
                while self._broken_off:
                    self._state.kept.keep(self._broken_off.pop())
        finally:
            for resumable in self._broken_off:
                resumable.close()

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
                    if not new and (error.code != "quota_exceeded" or context.utterance.characters):
                        raise
                    context.utterance.fail(error)
            case FlushMessage():
                self._current(message).utterance.flush()
            case EndMessage():
                self._current(message).end()
            case CancelMessage(played_ms=played_ms, context=name):
                # One that has ended in the meantime has nothing left to cancel. A new one may use its name from here.
                if (cancelled := self._contexts.pop(name, None)) is not None:
                    cancelled.cancel(None if played_ms is None else played_ms / 1000)

    async def _resume(self, message: ResumeMessage, received: Received, group: asyncio.TaskGroup) -> None:
        self._state.check_text(message.text, "text")
        pieces(message.text, message.flushes)
        self._check_name(message.context)
        text, flushes = message.text, message.flushes
        kept = self._state.kept.take(
            message.resume_id, current_caller(), text=text, flushes=flushes, ended=message.ended
        )
        if kept is not None and kept.behind(message.from_sample) is not None:
            context = Context(message.context, kept.utterance, message.words, kept)
            known = kept.utterance.characters
            text, flushes = text[known:], [place - known for place in flushes[len(kept.utterance.flushes) :]]
            context.text_ended = kept.text_ended
            self._begin(context, group, message.from_sample)
        else:
            if kept is not None:
                self._state.kept.detach(kept)
                kept.close()
            await self._start(message, group, Resume(id=message.resume_id, from_sample=message.from_sample))
            context = self._contexts[message.context]
        if flushes[:1] == [0]:
            context.utterance.flush()
            del flushes[0]
        *flushed, rest = pieces(text, flushes)
        for piece in flushed:
            context.utterance.append(piece, received.received_s)
            context.utterance.flush()
        context.utterance.append(rest, received.received_s)
        if message.ended and not context.text_ended:
            context.end()

    async def _start(
        self, message: StartMessage | ResumeMessage, group: asyncio.TaskGroup, resume: Resume | None = None
    ) -> None:
        state, name = self._state, message.context
        self._check_name(name)
        pronunciations = await state.dictionaries.chosen(message.pronunciations)
        state.check_accepting()
        utterance = Utterance(
            state,
            protocol=SUBPROTOCOL,
            chosen_voice=state.chosen_voice(message.voice, message.timbre),
            seed=message.seed,
            speed=message.speed,
            pitch_semitones=message.pitch_semitones,
            rate_hz=check_rate(message.sample_rate),
            temperature=message.temperature,
            pronunciations=pronunciations,
            leading_silence=message.leading_silence,
            options=(
                *chosen(state, language=message.language, instruction=message.instructions),
                *message.sampled.items(),
            ),
            resume=resume,
        )
        resumable = Resumable(utterance) if state.kept.for_s else None
        self._begin(Context(name, utterance, message.words, resumable), group)

    def _check_name(self, name: str | None) -> None:
        """Another utterance may begin under it. Raises ApiError."""
        if name in self._contexts:
            says = "an utterance is in progress; send 'end' or 'cancel' and wait for its last event"
            raise ApiError("invalid_request", says)
        limit = self._state.settings.max_contexts
        if len(self._contexts) >= limit or len(self._speakers) >= limit + _UNREAD_ENDINGS:
            says = f"{len(self._contexts)} utterances are in progress on this socket, which is its limit; end one"
            raise ApiError("too_many_contexts", says, param="context")

    def _begin(self, context: Context, group: asyncio.TaskGroup, from_sample: int | None = None) -> None:
        """`from_sample`: of an utterance that was kept."""
        self._contexts[context.name] = context
        predecessor = self._speakers_by_name.get(context.name)
        speaking = self._speak(context, predecessor, from_sample)
        speaker = self._speakers_by_name[context.name] = group.create_task(speaking)
        if context.resumable is not None:
            self._state.kept.attach(context.resumable)
            context.resumable.let_go = lambda: self._let_go(context, speaker)
        self._speakers.add(speaker)
        speaker.add_done_callback(lambda ended: self._close(context, ended))

    def _current(self, message: AppendMessage | FlushMessage | EndMessage) -> Context:
        context = self._contexts.get(message.context)
        if context is None:
            raise ApiError("invalid_request", f"{message.type!r} came before any text; send 'append' first")
        if context.text_ended:
            says = f"{message.type!r} came after 'end'; wait for 'done', then start another utterance"
            raise ApiError("invalid_request", says)
        return context

    # -- out -------------------------------------------------------------------------------------------------------

    async def _speak(self, context: Context, predecessor: asyncio.Task[None] | None, from_sample: int | None) -> None:
        """Sends one utterance's events until its last, once its predecessor of the same name has sent its own."""
        utterance = context.utterance
        if predecessor is not None:
            await asyncio.wait([predecessor])
        audio = {"encoding": "pcm_s16le", "sample_rate": utterance.rate_hz, "channels": 1}
        ids = {"request_id": utterance.id, "resume_id": utterance.name_without_text}
        started = context.says("started", **ids, seed=utterance.seed, audio=audio)
        await self._channel.send(started)
        if from_sample is not None:
            await self._send_again(context, from_sample)
        while not await self._pass_on(context, await context.next()):
            pass
        context.is_over = True

    async def _send_again(self, context: Context, from_sample: int) -> None:
        """What the network may have lost of an utterance that was kept."""
        kept = context.resumable
        assert kept is not None
        pcm, words, waiting = kept.behind(from_sample), kept.words_behind(from_sample), kept.waiting
        if pcm:
            await self._channel.send_audio(pcm, context.outgoing, lambda: self._announcement(context))
        if kept.unsent:
            new = kept.utterance.sent(kept.unsent)
            kept.sent(new)
            words += new
        self._channel.keep_open_for(kept.utterance.lead_s)
        await self._send_words(context, words)
        if waiting is not None:
            await self._pass_on(context, waiting)

    async def _pass_on(self, context: Context, event: SpeechEvent) -> bool:
        """Tells the client of an event. Returns whether it was the utterance's last."""
        utterance = context.utterance
        match event:
            case Audio(data=pcm):
                await self._send_audio(context, pcm)
            case WaitingForText(spoken_samples=samples):
                message = context.says("waiting_for_text", audio_ms=ms(utterance.audio_s), samples=samples)
                await self._channel.send(message)
            case Finished(timings=timings, warnings=warnings):
                told = {"warnings": list(warnings)} if warnings else {}
                await self._last(context, done(context, timings) | told)
            case Cancelled():
                await self._last(context, cancelled(context))
            case Failed():
                self._free(context)
                await self._tell(ApiError.of(event), context.name)
        return isinstance(event, Finished | Cancelled | Failed)

    async def _send_audio(self, context: Context, pcm: bytes) -> None:
        if not pcm:
            return
        if not await self._channel.send_audio(pcm, context.outgoing, lambda: self._announcement(context)):
            return  # it waited for a slow reader, and was cancelled
        words = context.utterance.sent(pcm)
        self._channel.keep_open_for(context.utterance.lead_s)
        if context.resumable is not None:
            context.resumable.sent(words)
        await self._send_words(context, words)

    async def _send_words(self, context: Context, words: Sequence[WordTime]) -> None:
        if words and context.words:
            text = context.utterance.transcript.text
            await self._channel.send(context.says("words", words=[word_of(word, text) for word in words]))

    def _announcement(self, context: Context) -> dict[str, object] | None:
        if self._heard == context.name:
            return None
        self._heard = context.name
        return {"type": "audio", "context": context.name}

    async def _last(self, context: Context, message: dict[str, object]) -> None:
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

    def _close(self, context: Context, speaker: asyncio.Task[None]) -> None:
        """Its speaker is done, or never began: the connection ended first."""
        self._speakers.discard(speaker)
        if self._speakers_by_name.get(context.name) is speaker:
            del self._speakers_by_name[context.name]
        self._free(context)
        if context.is_elsewhere:
            return
        if context.resumable is not None:
            self._state.kept.detach(context.resumable)
            if not (context.is_over or context.resumable.has_failed):
                self._broken_off.append(context.resumable)
                return
        context.close()

    def _let_go(self, context: Context, speaker: asyncio.Task[None]) -> None:
        """Its listener has come back on another connection: this one is broken."""
        context.is_elsewhere = True
        speaker.cancel()

    def _free(self, context: Context) -> None:
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    async def _leave_when_drained(self) -> None:
        """A socket that speaks may finish; one that is idle is asked to connect elsewhere."""
        await self._state.shutdown.draining_begins()
        while self._speakers:
            await asyncio.wait(self._speakers)
        await self._tell(ApiError("draining", DRAINING), None)
