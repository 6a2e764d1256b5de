"""Text to phones: normalising, pronouncing, pausing, as the words arrive."""

from __future__ import annotations

from engines.text.errors import StreamEnded, UnspeakableText
from engines.text.phones import NUM_PHONE_IDS, PHONES, VOWELS, PauseType, Phone, pause, phone_id
from engines.text.stream import FrontEnd, TextStream

__all__ = [
    "NUM_PHONE_IDS",
    "PHONES",
    "VOWELS",
    "FrontEnd",
    "PauseType",
    "Phone",
    "StreamEnded",
    "TextStream",
    "UnspeakableText",
    "pause",
    "phone_id",
]
