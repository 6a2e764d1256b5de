"""Voice names that clients know from elsewhere. OpenAI's thirteen are dealt over the bundle's voices.

A voice of the bundle with the same id wins. The names are spread by how their owners sound: to the first voice of
that pitch, and where the bundle tells of no pitch, lower ones to its first voice and higher ones to its second.
"""

from __future__ import annotations

from collections.abc import Sequence

from engines.families.bundle import Voice

PITCHES = ("low", "high")
LOW, HIGH = PITCHES
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


def names_of(voices: Sequence[Voice]) -> dict[str, str]:
    """Every name that is answered to, the voices' own first, and the id of the voice that it is."""
    owner = {}
    for place, pitch in enumerate(PITCHES):
        fitting = [voice.id for voice in voices if voice.pitch == pitch]
        owner[pitch] = fitting[0] if fitting else voices[place % len(voices)].id
    own = {voice.id: voice.id for voice in voices}
    return own | {name: owner[pitch] for name, pitch in OPENAI_VOICES.items() if name not in own}
