"""What a request asks of the model beyond what every model has: a language and an instruction, where the bundle takes
them.

A language is asked for by its name or by its code, as every dialect has it: `german`, `de`, `de-AT`, `de_DE`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engines.families.base import ModelSpec
from engines.families.bundle import Bundle
from server.errors import ApiError
from server.speech.service import SpeechService

Options = tuple[tuple[str, Any], ...]
_CODES = {  # ISO 639-1
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
}
_NAMES = {code: name for name, code in _CODES.items()}
_ANY = "auto"


def languages(bundle: Bundle) -> dict[str, str]:
    """Codes of what the model speaks, to names, English first; a dialect without a code goes by its name."""
    return {_CODES.get(name, name): name for name in sorted(bundle.languages, key=lambda name: name != "english")}


def speaks(bundle: Bundle, language: str) -> bool:
    return _named(language) in bundle.languages


def in_language(
    bundle: Bundle, language: str | None, *, param: str = "language", code: str = "invalid_parameter"
) -> Options:
    """Raises ApiError, as `code`, for one that is not spoken. None: the model finds out."""
    if language is None or language.lower() == _ANY:
        return ()
    if not speaks(bundle, language):
        says = f"{param} {language!r} is not spoken here; valid: {', '.join((_ANY, *languages(bundle)))}"
        raise ApiError(code, says, param=param)
    return (("language", _named(language)),) if bundle.CHOOSES_LANGUAGE else ()


def takes_instructions(spec: ModelSpec) -> bool:
    return spec.option("instruction") is not None


def follows_pace(spec: ModelSpec) -> bool:
    """Whether words about pace become a speed. A model that follows instructions reads them itself; one that is asked
    for every speed refuses all but its own."""
    return not takes_instructions(spec) and not math.isinf(spec.speeds[1])


def chosen(
    service: SpeechService, *, language: str | None, instruction: str | None, sampled: Mapping[str, float] | None = None
) -> Options:
    """Raises ApiError. What the model has not, an instruction or a way to sample, is left out: agents send the same to
    every provider."""
    options = in_language(service.bundle, language, code="invalid_request")
    if instruction is not None and instruction.strip() and takes_instructions(service.spec):
        options = (("instruction", instruction), *options)
    drawn = ((name, value) for name, value in (sampled or {}).items() if service.spec.option(name) is not None)
    return (*options, *drawn)


def _named(language: str) -> str:
    asked = language.lower()
    return _NAMES.get(asked.replace("_", "-").partition("-")[0], asked)
