"""`nari.speech.v1`, to the letter: one request on one socket, acknowledged text in, binary PCM out, then a close.

    client   request.start   input_text.append* (each acknowledged)   input_text.end      or response.cancel
    server   session.created   request.configured   response.started   audio*   response.done, close 1000

Every error is `error` and the close that belongs to it. A cancel is also taken after the end of the text.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

from engines.messages import Cancelled, Failed, Finished
from server.errors import ApiError
from server.http.websocket import Closed, Outgoing, Received, WebSocketChannel
from server.protocols.nari.errors import refuse
from server.protocols.nari.messages import NariMessage, RequestStart, ResponseCancel, TextAppend, TextEnd, nari_message
from server.schemas import SAMPLED
from server.shutdown import DRAINING
from server.speech.events import Audio
from server.speech.model_options import Options, chosen
from server.speech.utterance import Utterance
from server.state import State

SUBPROTOCOL: Final = "nari.speech.v1"
_RATE_HZ = 24_000
_AUDIO = {"encoding": "pcm_s16le", "sample_rate": _RATE_HZ, "channels": 1}
_MAX_APPENDS = 1_024


class NariConnection:
    def __init__(self, channel: WebSocketChannel, state: State) -> None:
        self._channel, self._state = channel, state
        self._start: RequestStart | None = None
        self._utterance: Utterance | None = None
        self._outgoing = Outgoing()
        self._request_id: str | None = None  # from the configuration on
        self._sequence = 0  # expected next
        self._appends = 0
        self._text_ended = self._over = False

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._leave_when_drained())
                await self._channel.send({"type": "session.created", "protocol": SUBPROTOCOL, "audio": _AUDIO})
                while True:
                    await self._receive(group)
        except* Closed:
            pass
        finally:
            if self._utterance is not None:
                self._utterance.close()

    # -- in --------------------------------------------------------------------------------------------------------

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        try:
            received = await self._channel.receive()
            await self._handle(nari_message(received.text), received, group)
        except ApiError as error:
            self._state.refused(error)
            await self._fail(error)

    async def _handle(self, message: NariMessage, received: Received, group: asyncio.TaskGroup) -> None:
        if self._over:
            return  # its last event is being written
        match message:
            case RequestStart():
                await self._configure(message)
            case TextAppend(sequence=sequence, text=text):
                self._consume(message.type, sequence)
                self._appends += 1
                if self._appends > _MAX_APPENDS:
                    raise ApiError("too_many_input_events", f"more than {_MAX_APPENDS} appends; send longer ones")
                await self._append(text, received.received_s, group)
                await self._acknowledge(message.type, sequence)
            case TextEnd(sequence=sequence):
                self._consume(message.type, sequence)
                if self._utterance is None:
                    raise ApiError("empty_input", "the text ended before any came")
                self._text_ended = True
                await self._acknowledge(message.type, sequence)
                self._utterance.end()
            case ResponseCancel():
                await self._cancel()

    async def _configure(self, start: RequestStart) -> None:
        if self._start is not None:
            raise ApiError("invalid_request", "the request is configured already; open another socket for another")
        self._state.check_accepting()
        if start.model is not None:
            self._state.check_model(start.model)
        self._state.chosen_voice(start.voice)
        self._options_of(start)
        self._start, self._request_id = start, f"ws-{uuid.uuid4().hex}"
        await self._channel.send({"type": "request.configured"})

    def _options_of(self, start: RequestStart) -> Options:
        """Raises ApiError."""
        instruction = start.instruction or start.instruct or start.instructions
        given = {name: getattr(start, name) for name in SAMPLED if name in start.model_fields_set}
        return chosen(self._state, language=start.language, instruction=instruction, sampled=given)

    def _consume(self, kind: str, sequence: int) -> None:
        if self._start is None or self._text_ended:
            when = "after 'input_text.end'" if self._text_ended else "before 'request.start'"
            raise ApiError("invalid_request", f"{kind!r} came {when}")
        if sequence != self._sequence:
            raise ApiError("invalid_sequence", f"expected sequence {self._sequence}, got {sequence}", param="sequence")
        self._sequence += 1

    async def _append(self, text: str, received_s: float, group: asyncio.TaskGroup) -> None:
        if self._utterance is not None:
            self._utterance.append(text, received_s)
            return
        assert self._start is not None, "_consume has checked it"
        state, start = self._state, self._start
        state.check_accepting()
        utterance = self._utterance = Utterance(
            state,
            protocol=SUBPROTOCOL,
            chosen_voice=state.chosen_voice(start.voice),
            seed=start.seed,
            speed=1.0,
            rate_hz=_RATE_HZ,
            temperature=start.chosen_temperature,
            options=self._options_of(start),
            request_id=self._request_id,
        )
        utterance.append(text, received_s)
        await self._channel.send({"type": "response.started", "request_id": utterance.id, "audio": _AUDIO})
        group.create_task(self._speak(utterance))

    async def _acknowledge(self, kind: str, sequence: int) -> None:
        fields = {"event": kind, "sequence": sequence, "request_id": self._request_id}
        await self._channel.send({"type": "input_text.ack", **fields})

    async def _cancel(self) -> None:
        if self._start is None:
            raise ApiError("invalid_request", "'response.cancel' came before 'request.start'")
        if self._utterance is None:
            await self._done("cancelled", 0)
        else:
            self._utterance.cancel()
            self._outgoing.withdraw()

    # -- out -------------------------------------------------------------------------------------------------------

    async def _speak(self, utterance: Utterance) -> None:
        """Sends the utterance's audio until its last event, which closes the socket."""
        chunks = 0
        while True:
            event = await utterance.next()
            match event:
                case Audio(data=pcm) if pcm:
                    if await self._channel.send_audio(pcm, self._outgoing):
                        utterance.sent(pcm)
                        self._channel.keep_open_for(utterance.lead_s)
                        chunks += 1
                case Finished(warnings=warnings):
                    await self._done("stop", chunks, warnings)
                case Cancelled():
                    await self._done("cancelled", chunks)
                case Failed():
                    await self._fail(ApiError.of(event))

    async def _done(self, stop_reason: str, chunks: int, warnings: tuple[str, ...] = ()) -> None:
        self._over = True
        told = {"warnings": list(warnings)} if warnings else {}
        fields = {"request_id": self._request_id, "stop_reason": stop_reason, "audio_chunks": chunks, **told}
        await self._channel.close(1000, "response.done", last={"type": "response.done", **fields})

    async def _fail(self, error: ApiError) -> None:
        self._over = True
        await refuse(self._channel, error, self._request_id)

    async def _leave_when_drained(self) -> None:
        await self._state.shutdown.draining_begins()
        if self._utterance is None:
            await self._fail(ApiError("draining", DRAINING))
