"""ElevenLabs' WebSockets: `stream-input`, one utterance to a socket, and `multi-stream-input`, many contexts.

A connection is a reader and a task for each context in one task group: when the connection ends, all end. Nothing a
client may send first is wrong: settings, keep-alives and text come in any order.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket

from server.errors import ApiError
from server.http.connection_limit import permit_of
from server.http.websocket import Closed, WebSocketChannel, serve_websocket
from server.protocols.elevenlabs.context import Context
from server.protocols.elevenlabs.errors import error_message, refuse
from server.protocols.elevenlabs.messages import (
    ClientMessage,
    Query,
    check_key,
    check_model,
    has_key,
    parsed,
    parsed_json,
    stored_pronunciations,
)
from server.shutdown import DRAINING
from server.speech.encoded import EncodedSpeech
from server.speech.model_options import in_language
from server.speech.pronunciations import Chosen
from server.state import State, state_of

router = APIRouter()
_MAX_CONTEXTS = 64  # a bound on what one client can hold, far above what agents open
_DEFAULT_CONTEXT = "default"


class _Connection:
    def __init__(
        self, channel: WebSocketChannel, socket: WebSocket, state: State, voice_id: str, *, multi: bool
    ) -> None:
        """Raises ApiError for what the address asks and there is not."""
        self._channel, self._socket, self._state, self._multi = channel, socket, state, multi
        state.access.check_origin(socket)
        self._query = parsed(Query, "query", dict(socket.query_params))
        check_model(state, self._query.model_id)
        self._chosen_voice = state.chosen_voice(voice_id)
        self._options = in_language(state.bundle, self._query.language_code, param="language_code")
        self._contexts: dict[str | None, Context] = {}
        self._running: dict[asyncio.Task[None], Context] = {}
        self._idle_s = max(state.settings.idle_s, self._query.inactivity_timeout)  # of a context
        self._known = has_key(socket) or not state.access.wants_keys  # otherwise the first message may bring a key
        if self._known:
            check_key(state, socket)

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
            patience_s = self._query.inactivity_timeout
            if not self._known:
                patience_s = min(patience_s, self._state.settings.body_timeout_s)
            received = await self._channel.receive(patience_s)
            message = parsed_json(ClientMessage, received.text)
            if not self._known:
                check_key(self._state, self._socket, message)
                self._known = True
                permit_of(self._socket).authenticated()
            chosen = await stored_pronunciations(self._state, message.pronunciation_dictionary_locators)
            if self._multi:
                await self._take_multi(message, chosen, received.received_s, group)
            else:
                self._take_single(message, chosen, received.received_s, group)
        except ApiError as error:
            self._state.refused(error)
            if not self._multi and not any(context.has_text for context in self._contexts.values()):
                await refuse(self._channel, error)  # its one utterance would not begin as asked
            await self._tell(error, message.context_id if message is not None else None)

    def _take_single(self, message: ClientMessage, chosen: Chosen, received_s: float, group: asyncio.TaskGroup) -> None:
        context = self._contexts.get(None) or self._open(None, group)
        if context.closing:
            return
        context.take(message, chosen, received_s)
        if message.close_socket or (message.text == "" and not message.flush):
            context.end()

    async def _take_multi(
        self, message: ClientMessage, chosen: Chosen, received_s: float, group: asyncio.TaskGroup
    ) -> None:
        if message.close_socket:
            await self._channel.close(1000)
        name = message.context_id or _DEFAULT_CONTEXT
        context = self._contexts.get(name)
        if context is None:
            if not message.text:
                return  # keep-alives, flushes and closes of a context that is not there say nothing
            context = self._open(name, group)
        if context.closing:
            if message.text:
                raise ApiError("invalid_request", f"context {name!r} is closing; wait for isFinal or use another id")
            return
        context.take(message, chosen, received_s)
        if message.close_context:
            context.close()

    def _open(self, name: str | None, group: asyncio.TaskGroup) -> Context:
        if len(self._contexts) >= _MAX_CONTEXTS or len(self._running) >= 2 * _MAX_CONTEXTS:  # with unread endings
            raise ApiError("too_many_contexts", f"{_MAX_CONTEXTS} contexts are open on this socket; close some first")
        self._state.check_accepting()
        query = self._query
        context = Context(
            name,
            self._open_speech,
            self._channel.send,
            phrases=query.auto_mode,
            absolute=query.sync_alignment,
            idle_s=self._idle_s,
        )
        self._contexts[name] = context
        running = group.create_task(self._run(name, context))
        self._running[running] = context
        running.add_done_callback(self._drop)
        return context

    def _open_speech(self, speed: float, pronunciations: Chosen) -> EncodedSpeech:
        query = self._query
        return EncodedSpeech(
            self._state,
            protocol="elevenlabs-multi" if self._multi else "elevenlabs-ws",
            chosen_voice=self._chosen_voice,
            form=query.form,
            seed=query.seed,
            speed=speed,
            options=self._options,
            pronunciations=pronunciations,
            follow_tags=query.enable_ssml_parsing,
            idle_s=self._idle_s,
        )

    # -- out -------------------------------------------------------------------------------------------------------

    async def _run(self, name: str | None, context: Context) -> None:
        await context.run()
        del self._contexts[name]  # before the client hears `isFinal` and may use the name again
        failure = context.failure
        if not self._multi:
            if failure is not None:
                await refuse(self._channel, failure)
            await self._channel.close(1000, last=context.final)
        if failure is not None:
            await self._tell(failure, name)
        await self._channel.send(context.final)

    async def _tell(self, error: ApiError, name: str | None) -> None:
        named = {"contextId": name, "context_id": name} if self._multi and name is not None else {}
        message = {**error_message(error), **named}
        code = error.close_code(others_live=bool(self._contexts))
        if code is not None:
            await self._channel.close(code, error.code, last=message)
        await self._channel.send(message)

    # -- end -------------------------------------------------------------------------------------------------------

    def _drop(self, running: asyncio.Task[None]) -> None:
        self._running.pop(running).drop()

    async def _leave_when_drained(self) -> None:
        """A socket that speaks may finish; one that is idle is asked to connect elsewhere."""
        await self._state.shutdown.draining_begins()
        while speaking := [running for running, context in self._running.items() if context.has_text]:
            await asyncio.wait(speaking)
        await self._tell(ApiError("draining", DRAINING), None)


@router.websocket("/v1/text-to-speech/{voice_id}/stream-input")
async def stream_input(socket: WebSocket, voice_id: str) -> None:
    await _serve(socket, voice_id, multi=False)


@router.websocket("/v1/text-to-speech/{voice_id}/multi-stream-input")
async def multi_stream_input(socket: WebSocket, voice_id: str) -> None:
    await _serve(socket, voice_id, multi=True)


async def _serve(socket: WebSocket, voice_id: str, *, multi: bool) -> None:
    state = state_of(socket)
    await serve_websocket(
        socket,
        "elevenlabs-multi" if multi else "elevenlabs-ws",
        lambda channel: _Connection(channel, socket, state, voice_id, multi=multi),
        refuse,
    )
