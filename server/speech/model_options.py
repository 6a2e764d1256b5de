"""What a request asks of the model beyond what every model has: a language and an instruction, where the bundle takes
them."""

from __future__ import annotations

from typing import Any

from engines.families.base import ModelSpec
from server.errors import ApiError

Options = tuple[tuple[str, Any], ...]
_SHORT = {"de": "german", "en": "english", "es": "spanish", "fr": "french", "it": "italian", "ja": "japanese"}
_SHORT |= {"ko": "korean", "pt": "portuguese", "ru": "russian", "zh": "chinese"}


def takes_instructions(spec: ModelSpec) -> bool:
    return spec.option("instruction") is not None


def chosen(spec: ModelSpec, *, language: str | None, instruction: str | None) -> Options:
    """Raises ApiError for a language that is not spoken. An instruction that the model cannot follow is left out:
    agents send one to every provider."""
    found: list[tuple[str, Any]] = []
    if instruction and instruction.strip() and takes_instructions(spec):
        found.append(("instruction", instruction))
    if language is not None and language.lower() != "auto":
        asked = _SHORT.get(language.lower(), language.lower())
        option = spec.option("language")
        valid = ("auto", "english") if option is None else option.choices
        if asked not in valid:
            says = f"language {language!r} is not spoken here; valid: {', '.join(valid)}"
            raise ApiError("invalid_request", says, param="language")
        if option is not None:
            found.append(("language", asked))
    return tuple(found)
