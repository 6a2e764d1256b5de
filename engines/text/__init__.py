"""Text to phones: normalising, pronouncing, pausing, as the words arrive."""

from __future__ import annotations

from engines.text.errors import BadPronunciation, ExpansionTooLong, StreamEnded, UnknownDictionary, UnspeakableText
from engines.text.folding import script_counts
from engines.text.markup import FOR_THE_EAR, TextSettings
from engines.text.phones import NUM_PHONE_IDS, PHONES, VOWELS, PauseType, Phone, pause, phone_id
from engines.text.pronunciation import PronunciationDictionary, parse_dictionary
from engines.text.pronunciation_store import PronunciationStore
from engines.text.ssml import MAX_RATE, MIN_RATE
from engines.text.stream import FrontEnd, TextStream
from engines.text.word_stream import check_expansion

__all__ = [
    "FOR_THE_EAR",
    "MAX_RATE",
    "MIN_RATE",
    "NUM_PHONE_IDS",
    "PHONES",
    "VOWELS",
    "BadPronunciation",
    "ExpansionTooLong",
    "FrontEnd",
    "PauseType",
    "Phone",
    "PronunciationDictionary",
    "PronunciationStore",
    "StreamEnded",
    "TextSettings",
    "TextStream",
    "UnknownDictionary",
    "UnspeakableText",
    "check_expansion",
    "parse_dictionary",
    "pause",
    "phone_id",
    "script_counts",
]
