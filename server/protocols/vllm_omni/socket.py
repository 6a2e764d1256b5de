"""vLLM-Omni's `WS /v1/audio/speech/stream`, and SGLang-Omni's: a session of utterances, each with its text in pieces.

    client   session.config  input.text* input.done        input.text* input.cancel      session.close
    server                   audio.start  audio*  audio.done              audio.cancelled  session.done

An utterance is one `audio.start` to `audio.done`, whatever sentences it holds. Errors leave the session open.
"""

from __future__ import annotations

import base64
from functools import partial

from fastapi import APIRouter, WebSocket

from engines.messages import Cancelled, Failed, Finished, WordTime
from server.errors import ApiError
from server.http.utterance_socket import SocketUtterance, UtteranceSocket
from server.http.websocket import Received, WebSocketChannel, serve_websocket
from server.protocols.vllm_omni.messages import (
    InputCancel,
    InputDone,
    InputText,
    SessionClose,
    SessionConfig,
    message_of,
)
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio, SpeechEvent
from server.speech.model_options import Options, chosen
from server.state import State, state_of

router = APIRouter()


class _Utterance(SocketUtterance):
    def __init__(self, speech: EncodedSpeech, config: SessionConfig, index: int) -> None:
        super().__init__(speech)
        self.config, self.index = config, index
        self.begun = False
        self.total_bytes = 0

    @property
    def start(self) -> dict[str, object]:
        form = self.speech.form
        fields = {"sentence_text": self.speech.text, "format": form.codec.value, "sample_rate": form.rate_hz}
        return {"type": "audio.start", "sentence_index": self.index, **fields}

    def chunk(self, data: bytes, words: tuple[WordTime, ...]) -> dict[str, object]:
        """Audio with the words that are spoken in it, for clients that ask for times."""
        text, start_s = self.speech.text, self.speech.audio_s
        times = [
            {"word": text[word.start_char : word.end_char], "start_ms": _ms(word.start_s), "end_ms": _ms(word.end_s)}
            for word in words
        ]
        ends = {"chunk_start_ms": _ms(start_s), "chunk_end_ms": _ms(start_s + self.speech.unsent_s)}
        return {
            "type": "audio.chunk",
            "sentence_index": self.index,
            "audio_b64": base64.b64encode(data).decode(),
            "timestamps": times,
            **ends,
        }


class StreamSocket(UtteranceSocket):
    def __init__(self, channel: WebSocketChannel, socket: WebSocket, state: State) -> None:
        """Raises ApiError for a caller who is refused."""
        super().__init__(channel, state)
        state.check_key(socket)
        self._config = SessionConfig(type="session.config")
        self._utterance: _Utterance | None = None  # takes text
        self._count = 0
        self._closing = False

    async def greet(self) -> None:
        pass  # the client's configuration comes first

    async def handle(self, received: Received) -> None:
        message = message_of(received.text)
        if self._closing:
            return
        match message:
            case SessionConfig():
                self._check(message)
                self._config = message
                await self._say({"type": "session.configured"})
            case InputText(text=text):
                self._append(text, received.received_s)
            case InputDone():
                self._end()
            case InputCancel():
                self._utterance = None
                cancelled = sorted(
                    (utterance for utterance in self.live if isinstance(utterance, _Utterance)), key=_index
                )
                for utterance in cancelled:
                    utterance.cancel()
                self.answer(lambda: self._say_cancelled(cancelled))
            case SessionClose():
                if self._utterance is not None:
                    self._utterance.end()
                self._closing = True
                self.answer(lambda: self.channel.close(1000, last={"type": "session.done"}))

    def _end(self) -> None:
        if self._utterance is not None:
            self._utterance.end()
            self._utterance = None
            return
        nothing = {"type": "audio.done", "sentence_index": self._count, "total_bytes": 0, "error": False}
        self.answer(lambda: self._say(nothing))

    def _check(self, config: SessionConfig) -> None:
        if config.model is not None:
            self.state.check_model(config.model)
        self.state.chosen_voice(config.voice_id)
        self._options_of(config)
        _ = config.form

    def _options_of(self, config: SessionConfig) -> Options:
        """Raises ApiError."""
        return chosen(self.state, language=config.language, instruction=config.instructions, sampled=config.sampled)

    def _append(self, text: str, received_s: float) -> None:
        if self._utterance is None and text.strip():
            self.check_room()
            self.state.check_text(text, "text")
            config = self._config
            speech = EncodedSpeech(
                self.state,
                protocol="vllm-omni",
                chosen_voice=self.state.chosen_voice(config.voice_id),
                form=config.form,
                seed=config.seed,
                speed=config.speed,
                temperature=config.temperature,
                options=self._options_of(config),
            )
            self._utterance = _Utterance(speech, config, self._count)
            self._count += 1
            self.add(self._utterance)
        if self._utterance is not None:
            self._utterance.append(text, received_s)

    # -- out -------------------------------------------------------------------------------------------------------

    async def pass_on(self, utterance: SocketUtterance, event: SpeechEvent) -> None:
        assert isinstance(utterance, _Utterance)
        match event:
            case Audio(data=data, words=words) if data:
                await self._send_audio(utterance, data, words)
            case Finished(warnings=warnings):
                await self._say_done(utterance, error=False, warnings=warnings)
            case Failed():
                self._take_no_more(utterance)
                await self.tell(ApiError.of(event))
                await self._say_done(utterance, error=True)
            case Cancelled():
                pass  # its answer is queued

    async def _send_audio(self, utterance: _Utterance, data: bytes, words: tuple[WordTime, ...]) -> None:
        if not utterance.begun:
            utterance.begun = True
            await self.channel.send(utterance.start, utterance.outgoing)
        if utterance.config.word_timestamps:
            sent = await self.channel.send(utterance.chunk(data, words), utterance.outgoing)
        else:
            sent = await self.channel.send_audio(data, utterance.outgoing)
        if sent:
            utterance.total_bytes += len(data)
            utterance.speech.sent()
            self.channel.keep_open_for(utterance.speech.lead_s)

    async def _say_done(self, utterance: _Utterance, *, error: bool, warnings: tuple[str, ...] = ()) -> None:
        fields = {"sentence_index": utterance.index, "total_bytes": utterance.total_bytes, "error": error}
        told = {"warnings": list(warnings)} if warnings else {}
        await self._say({"type": "audio.done", **fields, **told})

    async def _say_cancelled(self, utterances: list[_Utterance]) -> None:
        """The texts are of all that was stopped; the position is an extension."""
        spoken, remaining, played_s = "", "", 0.0
        for utterance in utterances:
            position = utterance.speech.position
            spoken, remaining = spoken + position.text_spoken, remaining + position.text_remaining
            played_s += position.played_s
        fields = {"audio_ms": _ms(played_s), "text_spoken": spoken, "text_remaining": remaining}
        if utterances:
            fields["text_accuracy"] = utterances[0].speech.position.text_accuracy
        await self._say({"type": "audio.cancelled", **fields})

    def _take_no_more(self, utterance: _Utterance) -> None:
        if self._utterance is utterance:
            self._utterance = None

    async def _say(self, message: dict[str, object]) -> None:
        await self.channel.send(message)

    async def tell(self, error: ApiError, message: str | None = None) -> None:
        code = error.close_code(others_live=bool(self.live))
        if code is not None:
            await self.channel.close(code, error.code, last=_told(error))
        await self._say(_told(error))


def _index(utterance: _Utterance) -> int:
    return utterance.index


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def _told(error: ApiError) -> dict[str, object]:
    return {"type": "error", "code": error.code, "message": error.message}


async def _refuse(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=_told(error))


@router.websocket("/v1/audio/speech/stream")
async def stream(socket: WebSocket) -> None:
    connect = partial(StreamSocket, socket=socket, state=state_of(socket))
    await serve_websocket(socket, "vllm-omni", connect, _refuse)
