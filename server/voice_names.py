"""Voice names that clients know from elsewhere. OpenAI's thirteen speak as the bundle's voices in turn.

A voice of the bundle with the same id wins. The names are spread by how their owners sound: lower ones go to the
bundle's first voice, higher ones to its second.
"""

from __future__ import annotations

from collections.abc import Sequence

LOW, HIGH = 0, 1
OPENAI_VOICES = {
    "alloy": HIGH,
    "ash": LOW,
    "ballad": LOW,
    "cedar": LOW,
    "coral": HIGH,
    "echo": LOW,
    "fable": LOW,
    "marin": HIGH,
    "nova": HIGH,
    "onyx": LOW,
    "sage": HIGH,
    "shimmer": HIGH,
    "verse": LOW,
}


def resolved_voice(voices: Sequence[str], wanted: str) -> str | None:
    """One of `voices`: by its id or by an alias; None for a name that nobody has."""
    if wanted in voices:
        return wanted
    place = OPENAI_VOICES.get(wanted)
    return None if place is None else voices[place % len(voices)]


def aliases_of(voices: Sequence[str], voice: str) -> list[str]:
    return [name for name in OPENAI_VOICES if name != voice and resolved_voice(voices, name) == voice]
