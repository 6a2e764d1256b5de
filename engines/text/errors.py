"""What the text front end refuses. All of it is the caller's fault and belong to the engine's tree of errors.

They are ValueErrors too, so that a caller who knows nothing of the engine can still answer them.
"""

from __future__ import annotations

from engines.errors import BadParameter, TextError, TextTooLong
from engines.errors import UnspeakableText as RefusedText


class UnspeakableText(RefusedText, ValueError):
    """A whole text without one letter, digit or mark that has a name."""


class StreamEnded(TextError, ValueError):
    """Text after the end of its stream."""


class ExpansionTooLong(TextTooLong, ValueError):
    """A dictionary makes more of a text than may be spoken."""


class BadPronunciation(BadParameter, ValueError):
    """A pronunciation dictionary, or a name of one, that cannot be used."""


class UnknownDictionary(BadPronunciation):
    """There is none of that name, or not in that version."""

    code = "unknown_dictionary"
