"""Voice names that clients know from elsewhere. OpenAI's thirteen speak as the bundle's voices in turn.

A voice of the bundle with the same id wins. The names are spread by how their owners sound: lower ones go to the
bundle's first voice, higher ones to its second.
"""

from __future__ import annotations

from server.state import State

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


def resolved_voice(state: State, wanted: str | None) -> str:
    """A voice of the bundle: by its id, by an alias, or the first when none is asked for. Raises ApiError."""
    voices = state.bundle.voices
    if wanted in OPENAI_VOICES and wanted not in [voice.id for voice in voices]:
        return voices[OPENAI_VOICES[wanted] % len(voices)].id
    return state.voice(wanted)


def aliases_of(state: State, voice_id: str) -> list[str]:
    return [name for name in OPENAI_VOICES if name != voice_id and resolved_voice(state, name) == voice_id]
