"""Voice names that clients know from elsewhere. OpenAI's thirteen are dealt over the bundle's voices.

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


def names_of(voices: Sequence[str]) -> dict[str, str]:
    """Every name that is answered to, the voices' own first, and the voice that it is."""
    aliases = {name: voices[place % len(voices)] for name, place in OPENAI_VOICES.items()}
    return {voice: voice for voice in voices} | {name: of for name, of in aliases.items() if name not in voices}
