"""What `instructions` means here: the pace it asks for, and nothing else.

OpenAI's models take a free description of how to speak. This voice follows words about pace ("speak slowly", "very
fast") and ignores everything else without complaint, since agents send the same instructions to every provider. A word
behind a negation in the same clause does not count. The pace multiplies `speed`.
"""

from __future__ import annotations

import re

from server.schemas import MAX_SPEED, MIN_SPEED

_SLOW, _FAST = 0.85, 1.15
_STRONG = 2  # "very" counts as saying it twice
_PACE = re.compile(
    r"\b(?P<strong>very|extremely|really)?\s*"
    r"(?:(?P<slow>slow(?:ly|er)?|unhurried(?:ly)?)|(?P<fast>fast(?:er)?|quick(?:ly|er)?|rapid(?:ly)?))\b"
)
_NEGATION = re.compile(r"\b(?:not|never|without|avoid|no|don't|do not|isn't|too)\b")


def pace_of(instructions: str | None) -> float:
    """A factor for the speed; 1.0 when the text does not mention pace."""
    for clause in re.split(
        r"[.,;:!?\n]|\bbut\b", (instructions or "").lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    ):
        found = _PACE.search(clause)
        if found is not None and not _NEGATION.search(clause[: found.start()]):
            step = _SLOW if found["slow"] else _FAST
            return step**_STRONG if found["strong"] else step
    return 1.0


def effective_speed(speed: float, instructions: str | None) -> float:
    return min(max(speed * pace_of(instructions), MIN_SPEED), MAX_SPEED)
