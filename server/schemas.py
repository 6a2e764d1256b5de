"""What a client sent as JSON, in every dialect: how it is read, fields that several protocols share, and how a refusal
names field, value and remedy."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StrictInt, StrictStr, ValidationError

from server.audio import OFFERED_HZ
from server.errors import ApiError


def _encodable(text: str) -> str:
    """JSON can carry halves of surrogate pairs, which no answer can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is no character") from error
    return text


# Places in an error are fields and list positions, and names of message types and of a union's branches.
_NO_OBJECT = ("model_type", "model_attributes_type", "dict_type")  # pydantic's message names Python classes
_FIELD = re.compile(r"(?!(start|append|flush|end|cancel|str)$)[a-z_]+")
MAX_SEED = 2**63 - 1
MIN_SPEED, MAX_SPEED = 0.25, 4.0
MAX_PITCH_SEMITONES = 12.0  # either way
Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
Name = Annotated[StrictStr, AfterValidator(_encodable)]  # of the client's: it is sent back
Instructions = Annotated[Name, Field(max_length=4_096)]  # how to speak
Speed = Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)]
PitchSemitones = Annotated[float, Field(ge=-MAX_PITCH_SEMITONES, le=MAX_PITCH_SEMITONES)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


SAMPLED = ("top_k", "top_p", "repetition_penalty")


class Sampled(BaseModel):
    """How a model draws its codes, beside the temperature. Which values it takes, it says itself."""

    top_k: StrictInt | None = None
    top_p: Annotated[float, Field(allow_inf_nan=False)] | None = None
    repetition_penalty: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @property
    def sampled(self) -> dict[str, float]:
        """What is given."""
        return {name: value for name in SAMPLED if (value := getattr(self, name)) is not None}


def check_characters(text: str, param: str) -> None:
    """Halves of surrogate pairs, which JSON can carry, are no characters and could not be sent back."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{param}: character {error.start} is half of a surrogate pair; cut text between characters"
        raise ApiError("invalid_text", message, param=param) from error


def check_rate(rate_hz: int) -> int:
    if rate_hz not in OFFERED_HZ:
        offered = ", ".join(map(str, OFFERED_HZ))
        raise ApiError(
            "invalid_parameter", f"sample_rate {rate_hz} is not offered; valid: {offered}", param="sample_rate"
        )
    return rate_hz


def described(error: ValidationError, code: str) -> ApiError:
    """The first thing wrong: field, value, and what would be right."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or _FIELD.fullmatch(part))
    if first["type"] == "missing":
        return ApiError(code, f"{place} is missing", param=place)
    value = first.get("input")
    shown = repr(value) if not isinstance(value, dict | list) else type(value).__name__
    shown = shown if len(shown) <= 60 else shown[:60] + "..."
    says = "it must be a JSON object" if first["type"] in _NO_OBJECT else first["msg"]
    return ApiError(code, f"{place or 'message'}: {says}, got {shown}", param=place or None)


def read_json(raw: bytes | str) -> Any:
    """Without the fields that are null: they are not given. Raises ValueError with what is wrong with it as JSON."""
    try:
        return _given(json.loads(raw, parse_constant=_no_number))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one is not None}
    return [_given(one) for one in value] if isinstance(value, list) else value


def _no_number(name: str) -> None:
    """Python's reader knows more numbers than JSON does."""
    raise ValueError(f"{name} is not a JSON number")
