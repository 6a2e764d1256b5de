"""One Wyoming connection: text whole or in chunks, PCM out, `describe` answered at any time.

    client   synthesize-start   synthesize-chunk*   synthesize-stop                      or   synthesize
    server                      audio-start  audio-chunk*  audio-stop  synthesize-stopped     without the last

Utterances are generated as their text comes and sent one after another. The protocol has no cancel but leaving, and no
client reads on behind an error: after one the connection is closed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from engines.messages import Cancelled, Failed, Finished
from server.audio import DEFAULT_RATE_HZ
from server.errors import ApiError
from server.http.websocket import Closed
from server.protocols.wyoming.events import Event, EventChannel
from server.protocols.wyoming.messages import Chosen, Start, Synthesize, TextChunk, chosen, info, parsed
from server.shutdown import DRAINING
from server.speech.events import Audio
from server.speech.utterance import Utterance
from server.state import State

PROTOCOL: Final = "wyoming"
_AUDIO = {"rate": DEFAULT_RATE_HZ, "width": 2, "channels": 1}


@dataclass(slots=True)
class _Streamed:
    """Between `synthesize-start` and `synthesize-stop`."""

    chosen: Chosen
    utterance: Utterance | None = None  # from the first text on


class WyomingConnection:
    def __init__(self, channel: EventChannel, state: State, version: str) -> None:
        self._channel, self._state, self._version = channel, state, version
        self._streamed: _Streamed | None = None
        self._speakers: set[asyncio.Task[None]] = set()
        self._last_speaker: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the client leaves or is told an error. Raises Closed or ApiError, in a group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leave_when_drained())
            while True:
                await self._handle(await self._channel.receive(), group)

    # -- in --------------------------------------------------------------------------------------------------------

    async def _handle(self, event: Event, group: asyncio.TaskGroup) -> None:
        match event.type:
            case "describe":
                await self._channel.send("info", info(self._state, self._version))
            case "ping":
                await self._channel.send("pong", {"text": event.data.get("text")})
            case "synthesize" if self._streamed is None:  # within a stream it repeats the text for older servers
                asked = parsed(Synthesize, event)
                utterance = self._open(chosen(self._state, asked.voice), asked.text, event, group, streamed=False)
                utterance.end()
            case "synthesize-start":
                if self._streamed is not None:
                    raise ApiError("invalid_request", "'synthesize-start' came before 'synthesize-stop'")
                self._streamed = _Streamed(chosen(self._state, parsed(Start, event).voice))
            case "synthesize-chunk":
                self._append(self._open_stream(event), parsed(TextChunk, event).text, event, group)
            case "synthesize-stop":
                streamed, self._streamed = self._open_stream(event), None
                if streamed.utterance is None:
                    self._speak_next(None, group, streamed=True)
                else:
                    streamed.utterance.end()

    def _open_stream(self, event: Event) -> _Streamed:
        if self._streamed is None:
            raise ApiError("invalid_request", f"{event.type!r} came before 'synthesize-start'")
        return self._streamed

    def _append(self, streamed: _Streamed, text: str, event: Event, group: asyncio.TaskGroup) -> None:
        if streamed.utterance is not None:
            streamed.utterance.append(text, event.received_s)
        elif text.strip():
            streamed.utterance = self._open(streamed.chosen, text, event, group, streamed=True)

    def _open(self, chosen: Chosen, text: str, event: Event, group: asyncio.TaskGroup, *, streamed: bool) -> Utterance:
        state = self._state
        state.check_accepting()
        state.check_text(text, "text")
        limit = state.settings.max_contexts
        if len(self._speakers) >= limit:
            message = f"{len(self._speakers)} utterances wait on this connection, which is its limit; read some first"
            raise ApiError("too_many_contexts", message)
        utterance = Utterance(
            state,
            protocol=PROTOCOL,
            chosen_voice=chosen.voice,
            options=chosen.options,
            seed=None,
            speed=1.0,
            rate_hz=DEFAULT_RATE_HZ,
            temperature=None,
            may_be_silent=True,
        )
        self._speak_next(utterance, group, streamed=streamed)
        utterance.append(text, event.received_s)
        return utterance

    # -- out -------------------------------------------------------------------------------------------------------

    def _speak_next(self, utterance: Utterance | None, group: asyncio.TaskGroup, *, streamed: bool) -> None:
        speaker = group.create_task(self._speak(utterance, self._last_speaker, streamed=streamed))
        self._last_speaker = speaker
        self._speakers.add(speaker)
        speaker.add_done_callback(lambda ended: self._close(utterance, ended))

    def _close(self, utterance: Utterance | None, speaker: asyncio.Task[None]) -> None:
        """Its speaker is done, or never began: the connection ended first."""
        self._speakers.discard(speaker)
        if utterance is not None:
            utterance.close()

    async def _speak(
        self, utterance: Utterance | None, predecessor: asyncio.Task[None] | None, *, streamed: bool
    ) -> None:
        if predecessor is not None:
            await asyncio.wait([predecessor])
        if utterance is not None:
            await self._send_speech(utterance)
        if streamed:
            await self._channel.send("synthesize-stopped")

    async def _send_speech(self, utterance: Utterance) -> None:
        begun = False
        while True:
            event = await utterance.next()
            match event:
                case Audio(data=pcm) if pcm:
                    if not begun:
                        await self._channel.send("audio-start", {**_AUDIO, "timestamp": 0})
                    begun = True
                    await self._channel.send("audio-chunk", {**_AUDIO, "timestamp": _ms(utterance)}, pcm)
                    utterance.sent(pcm)
                    self._channel.keep_open_for(utterance.lead_s)
                case Finished(warnings=warnings):
                    told = {"warnings": list(warnings)} if warnings else {}
                    await self._channel.send("audio-stop", {"timestamp": _ms(utterance), **told})
                    return
                case Failed():
                    raise ApiError.of(event)
                case Cancelled():
                    raise Closed

    async def _leave_when_drained(self) -> None:
        await self._state.shutdown.draining_begins()
        while self._speakers:
            await asyncio.wait(self._speakers)
        raise ApiError("draining", DRAINING)


def _ms(utterance: Utterance) -> int:
    return round(1000 * utterance.audio_s)
