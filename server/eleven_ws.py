"""ElevenLabs' WebSockets: `stream-input`, one utterance to a socket, and `multi-stream-input`, many contexts.

A connection is a reader and a task for each context in one task group: when the connection ends, all end. Nothing a
client may send first is wrong: settings, keep-alives and text come in any order.
"""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from server.eleven_body import ClientMessage, Invalid, Query, check_key, check_model, has_key, parsed, parsed_json
from server.eleven_context import Context, error_message
from server.encoded_speech import EncodedSpeech
from server.errors import ApiError
from server.state import State, state_of
from server.voice_names import resolved_voice

router = APIRouter()
_MAX_CONTEXTS = 64  # a bound on what one client can hold, far above what agents open
_DEFAULT_CONTEXT = "default"


class _Closed(Exception):
    """The connection is over, whoever ended it."""


class _Connection:
    def __init__(self, socket: WebSocket, state: State, voice_id: str, *, multi: bool) -> None:
        self._socket, self._state, self._multi = socket, state, multi
        self._query = parsed(Query, "query", dict(socket.query_params))
        check_model(state, self._query.model_id)
        self._voice = resolved_voice(state, voice_id)
        self._contexts: dict[str | None, Context] = {}
        self._known = has_key(socket)
        if self._known:
            check_key(state, socket)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._receive(group)
        except* (_Closed, WebSocketDisconnect):
            pass

    # -- in --------------------------------------------------------------------------------------------------------

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        raw = await self._next_text()
        received_s = time.monotonic()
        try:
            message = parsed_json(ClientMessage, raw)
            if not self._known:
                check_key(self._state, self._socket, message.key)
                self._known = True
            if self._multi:
                await self._take_multi(message, received_s, group)
            else:
                self._take_single(message, received_s, group)
        except Invalid as invalid:
            await self._send(error_message(ApiError("invalid_parameter", str(invalid))))
        except ApiError as error:
            names = {"contextId": message.context_id, "context_id": message.context_id} if self._multi else {}
            await self._send({**error_message(error), **names})
            if error.kind.close is not None:
                await self._close(error.kind.close, error.code)

    def _take_single(self, message: ClientMessage, received_s: float, group: asyncio.TaskGroup) -> None:
        context = self._contexts.get(None) or self._open(None, group)
        if context.closing:
            return
        context.take(message, received_s)
        if message.close_socket or (message.text == "" and not message.flush):
            context.end()

    async def _take_multi(self, message: ClientMessage, received_s: float, group: asyncio.TaskGroup) -> None:
        if message.close_socket:
            await self._close(1000, "")
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
        context.take(message, received_s)
        if message.close_context:
            context.close()

    def _open(self, name: str | None, group: asyncio.TaskGroup) -> Context:
        if len(self._contexts) >= _MAX_CONTEXTS:
            raise ApiError("invalid_request", f"{_MAX_CONTEXTS} contexts are open on this socket; close some first")
        self._state.check_accepting()
        query = self._query
        context = Context(name, self._open_speech, self._send, phrases=query.auto_mode, absolute=query.sync_alignment)
        self._contexts[name] = context
        group.create_task(self._run(name, context))
        return context

    def _open_speech(self, speed: float) -> EncodedSpeech:
        query = self._query
        protocol = "elevenlabs-multi" if self._multi else "elevenlabs-ws"
        return EncodedSpeech(
            self._state, protocol=protocol, voice=self._voice, form=query.form, seed=query.seed, speed=speed
        )

    async def _run(self, name: str | None, context: Context) -> None:
        try:
            await context.run()
        finally:
            del self._contexts[name]  # before the client hears `isFinal` and may use the name again
        if self._multi or context.failure is None:
            await self._send(context.final)
        if not self._multi:
            failure = context.failure
            await self._close(1000 if failure is None else 1011, "" if failure is None else failure.code)

    # -- the socket ------------------------------------------------------------------------------------------------

    async def _next_text(self) -> str:
        """A client may be silent while it has something to hear, and for `inactivity_timeout` while it has not."""
        while True:
            try:
                async with asyncio.timeout(self._query.inactivity_timeout):
                    message = await self._socket.receive()
            except TimeoutError:
                if all(context.idle for context in self._contexts.values()):
                    text = f"nothing was sent for {self._query.inactivity_timeout:g} s"
                    await self._send({"error": "input_timeout_exceeded", "message": text, "code": 1008})
                    await self._close(1008, "input_timeout_exceeded")
                continue
            if message["type"] == "websocket.disconnect":
                raise _Closed
            if message.get("text") is None:
                await self._close(1003, "unsupported_data")
            return str(message["text"])

    async def _send(self, message: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(self._state.settings.send_timeout_s):
                await self._socket.send_json(message)
        except (TimeoutError, RuntimeError) as error:  # RuntimeError: starlette's word for a closed socket
            raise _Closed from error

    async def _close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)
        raise _Closed


@router.websocket("/v1/text-to-speech/{voice_id}/stream-input")
async def stream_input(socket: WebSocket, voice_id: str) -> None:
    await _serve(socket, voice_id, multi=False)


@router.websocket("/v1/text-to-speech/{voice_id}/multi-stream-input")
async def multi_stream_input(socket: WebSocket, voice_id: str) -> None:
    await _serve(socket, voice_id, multi=True)


async def _serve(socket: WebSocket, voice_id: str, *, multi: bool) -> None:
    await socket.accept()
    try:
        connection = _Connection(socket, state_of(socket), voice_id, multi=multi)
    except (ApiError, Invalid) as error:
        said = error if isinstance(error, ApiError) else ApiError("invalid_parameter", str(error))
        await socket.send_json(error_message(said))
        await socket.close(1008, said.code)
        return
    await connection.run()
