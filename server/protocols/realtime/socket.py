"""OpenAI's `WS /v1/realtime`, its output: text items in, speech out. No language model stands in between.

A response speaks the text of the items in its `input`, or else of those created since the last response. One speaks at
a time. Errors are told and leave the session as it is.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from functools import partial

from fastapi import APIRouter, WebSocket

from engines.messages import Cancelled, Failed, Finished
from server.errors import ApiError
from server.http.utterance_socket import SocketUtterance, UtteranceSocket
from server.http.websocket import Received, WebSocketChannel, offered, serve_websocket
from server.protocols.realtime.messages import (
    AudioOutput,
    BufferClear,
    Item,
    ItemCreate,
    ItemTruncate,
    OutputFormat,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    event_id_of,
    message_of,
)
from server.protocols.realtime.response import Event, ResponseUtterance
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio, SpeechEvent
from server.state import State, state_of

router = APIRouter()
_IDLE_S = 1_800.0  # OpenAI's longest session
_MODELS = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime")
_REMEMBERED = 64  # responses that can still be truncated
_DEFAULTS = AudioOutput(format=OutputFormat(), speed=1.0)


class RealtimeSocket(UtteranceSocket):
    def __init__(self, channel: WebSocketChannel, socket: WebSocket, state: State) -> None:
        """Raises ApiError for a caller or a model that is refused."""
        super().__init__(channel, state)
        self.idle_s = max(_IDLE_S, state.settings.idle_s)
        state.check_key(socket)
        self._model = socket.query_params.get("model", state.bundle.name)
        if not self._model.startswith(_MODELS):
            state.check_model(self._model)
        self._id = f"sess_{uuid.uuid4().hex}"
        self._output = _DEFAULTS
        self._pending = ""  # text of items since the last response; a client creates any number without one
        self._last_item: str | None = None
        self._responses: OrderedDict[str, ResponseUtterance] = OrderedDict()  # by their item

    async def greet(self) -> None:
        await self._say({"type": "session.created", "session": self._session()})

    async def handle(self, received: Received) -> None:
        message = message_of(received.text)
        match message:
            case SessionUpdate(session=session):
                changed = self._output.changed(session.audio.output)
                self._check(changed)
                self._output = changed
                await self._say({"type": "session.updated", "session": self._session()})
            case ItemCreate(item=item):
                await self._create(item)
            case ResponseCreate():
                self._respond(message, received.received_s)
            case ResponseCancel(response_id=name):
                self._active(name).cancel()
            case BufferClear():
                utterance = next(iter(self.live), None)
                named = {"response_id": utterance.id} if isinstance(utterance, ResponseUtterance) else {}
                if utterance is not None:
                    utterance.cancel()
                self.answer(lambda: self._say({"type": "output_audio_buffer.cleared", **named}))
            case ItemTruncate():
                self._truncate(message)

    # -- items and responses ---------------------------------------------------------------------------------------

    async def _create(self, item: Item) -> None:
        self.state.check_length(len(self._pending) + len(item.text), "item")
        name = item.id or f"item_{uuid.uuid4().hex}"
        self._pending += item.text
        told = {
            "id": name,
            "object": "realtime.item",
            "status": "completed",
            **item.model_dump(include={"type", "role"}),
            "content": [part.model_dump(exclude_defaults=True) for part in item.content],
        }
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._say({"type": kind, "previous_item_id": self._last_item, "item": told})
        self._last_item = name

    def _respond(self, message: ResponseCreate, received_s: float) -> None:
        if self.live:
            raise ApiError("invalid_request", "a response is in progress; cancel it or wait for response.done")
        asked = message.response
        text = self._pending if asked.input is None else "".join(item.text for item in asked.input)
        output = self._output.changed(asked.audio.output)
        self._check(output)
        self.check_room()
        if not text.strip():
            raise ApiError("unspeakable_text", "there is no text to speak; create an item with text first")
        self.state.check_text(text, "input")
        assert output.format is not None, "it has a default"
        speech = EncodedSpeech(
            self.state,
            protocol="realtime",
            chosen_voice=self.state.chosen_voice(output.voice_id),
            form=output.format.form,
            seed=asked.seed,
            speed=1.0 if output.speed is None else output.speed,
            text_field="input",
        )
        utterance = ResponseUtterance(speech, asked.metadata)
        try:
            utterance.append(text, received_s)
        except ApiError:
            speech.close()
            raise
        if asked.input is None:
            self._pending = ""
        self._responses[utterance.item_id] = utterance
        if len(self._responses) > _REMEMBERED:
            self._responses.popitem(last=False)
        self._last_item = utterance.item_id
        self.answer(lambda: self._say(*utterance.begin()))
        self.add(utterance)
        utterance.end()

    def _active(self, name: str | None) -> SocketUtterance:
        for utterance in self.live:
            if isinstance(utterance, ResponseUtterance) and name in (None, utterance.id):
                return utterance
        raise ApiError("invalid_request", "no such response is in progress, nothing to cancel", param="response_id")

    def _truncate(self, message: ItemTruncate) -> None:
        utterance = self._responses.get(message.item_id)
        if utterance is None:
            raise ApiError("invalid_request", f"item {message.item_id!r} holds no speech", param="item_id")
        ends_s, sent_s = message.audio_end_ms / 1000, utterance.speech.audio_s
        if message.audio_end_ms > round(1000 * sent_s):
            says = f"audio_end_ms {message.audio_end_ms} is beyond the item's audio, {1000 * sent_s:.0f} ms"
            raise ApiError("invalid_parameter", says, param="audio_end_ms")
        if not utterance.over:
            utterance.cancel(ends_s)
        self.answer(lambda: self._say(_truncated(message, utterance, ends_s)))

    def _check(self, output: AudioOutput) -> None:
        """Raises ApiError for a voice or a rate that there is not."""
        self.state.chosen_voice(output.voice_id)
        if output.format is not None:
            _ = output.format.form

    def _session(self) -> Event:
        output = {"voice": self.state.voices[0], **self._output.model_dump(exclude_none=True)}
        return {
            "id": self._id,
            "object": "realtime.session",
            "type": "realtime",
            "model": self._model,
            "output_modalities": ["audio"],
            "audio": {"output": output},
        }

    # -- out -------------------------------------------------------------------------------------------------------

    async def pass_on(self, utterance: SocketUtterance, event: SpeechEvent) -> None:
        assert isinstance(utterance, ResponseUtterance)
        match event:
            case Audio(data=data) if data:
                if await self.channel.send(_named(utterance.audio(data)), utterance.outgoing):
                    spoken = utterance.speech.sent()
                    self.channel.keep_open_for(utterance.speech.lead_s)
                    if (words := utterance.words(spoken)) is not None:
                        await self.channel.send(_named(words), utterance.outgoing)
            case Finished(warnings=warnings):
                *before, done = utterance.finish("completed")
                await self._say(*before, done | ({"warnings": list(warnings)} if warnings else {}))
            case Cancelled():
                await self._say(*utterance.finish("cancelled", {"type": "cancelled", "reason": "client_cancelled"}))
            case Failed():
                error = ApiError.of(event)
                told = {"type": error.kind.type, "code": error.code, "message": error.message}
                await self._say(*utterance.finish("failed", {"type": "failed", "error": told}))

    async def _say(self, *events: Event) -> None:
        for event in events:
            await self.channel.send(_named(event))

    async def tell(self, error: ApiError, message: str | None = None) -> None:
        told = _error(error, event_id_of(message))
        code = error.close_code(others_live=bool(self.live))
        if code is not None:
            await self.channel.close(code, error.code, last=told)
        await self.channel.send(told)


def _truncated(message: ItemTruncate, utterance: ResponseUtterance, ends_s: float) -> Event:
    """`transcript` is ours: what was heard of the item, and how exactly that is known."""
    return {
        "type": "conversation.item.truncated",
        "item_id": message.item_id,
        "content_index": message.content_index,
        "audio_end_ms": message.audio_end_ms,
        "transcript": utterance.speech.heard_by(ends_s),
        "text_accuracy": utterance.speech.position.text_accuracy,
    }


def _named(event: Event) -> Event:
    return {"event_id": f"event_{uuid.uuid4().hex}", **event}


def _error(error: ApiError, event_id: str | None) -> Event:
    return _named({"type": "error", "error": {**error.body()["error"], "event_id": event_id}})


async def _refuse(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=_error(error, None))


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    connect = partial(RealtimeSocket, socket=socket, state=state_of(socket))
    await serve_websocket(socket, "realtime", connect, _refuse, subprotocol=offered(socket, "realtime"))
