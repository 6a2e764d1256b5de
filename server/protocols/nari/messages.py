"""What a client of `nari.speech.v1` may send. Fields that are not listed are refused, as its own server does.

Sampling controls that this engine does not have are taken and change nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from server.errors import ApiError
from server.schemas import Name, Seed, Temperature, described, read_json

_Chunk = Annotated[StrictInt, Field(ge=1, le=128)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RequestStart(_Message):
    type: Literal["request.start"]
    model: Name | None = None
    voice: Name | None = None
    language: Name = "auto"
    response_format: Literal["pcm", "pcm16", "pcm_s16le"] = "pcm"
    seed: Seed = 0
    do_sample: StrictBool = True
    temperature: Temperature | None = None
    instruction: Name | None = None
    instruct: Name | None = None
    instructions: Name | None = None
    top_k: StrictInt = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    max_new_tokens: Annotated[StrictInt, Field(ge=1, le=32_768)] = 2_048
    ignore_eos: StrictBool = False
    subtalker_dosample: StrictBool = True
    subtalker_temperature: float = 0.9
    subtalker_top_k: StrictInt = 50
    subtalker_top_p: float = 1.0
    skip_fixed_bootstrap_audio: StrictBool = True
    stream_chunk_schedule: Annotated[list[_Chunk], Field(min_length=1, max_length=32)] | None = None
    stream_chunk_frames: _Chunk | None = None
    stream_first_chunk_frames: _Chunk | None = None
    stream_steady_chunk_frames: _Chunk | None = None

    @property
    def chosen_temperature(self) -> float | None:
        return self.temperature if self.do_sample else 0.0


class TextAppend(_Message):
    type: Literal["input_text.append"]
    sequence: Annotated[StrictInt, Field(ge=0)]
    text: Annotated[StrictStr, Field(min_length=1)]


class TextEnd(_Message):
    type: Literal["input_text.end"]
    sequence: Annotated[StrictInt, Field(ge=0)]


class ResponseCancel(_Message):
    type: Literal["response.cancel"]


NariMessage = RequestStart | TextAppend | TextEnd | ResponseCancel
_BY_TYPE: dict[str, type[NariMessage]] = {
    "request.start": RequestStart,
    "input_text.append": TextAppend,
    "input_text.end": TextEnd,
    "response.cancel": ResponseCancel,
}


def nari_message(text: str) -> NariMessage:
    try:
        payload: Any = read_json(text)
    except ValueError as error:
        raise ApiError("invalid_request", f"the message is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise ApiError("invalid_request", f"a message is a JSON object, got {type(payload).__name__}")
    kind = payload.get("type")
    form = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise ApiError("unknown_event", f"type {kind!r} is not known; valid: {', '.join(_BY_TYPE)}")
    try:
        message = form.model_validate(payload)
    except ValidationError as error:
        raise described(error, "invalid_request") from error
    if isinstance(message, RequestStart):
        _check_start(message)
    return message


def _check_start(message: RequestStart) -> None:
    if sum(one is not None for one in (message.instruction, message.instruct, message.instructions)) > 1:
        raise ApiError("invalid_request", "set only one of instruction, instruct and instructions")
