"""Phones: the alphabet between the text front end and the speech model.

The order of PHONES is part of every trained bundle and never changes. An id says phone, stress and whether a word
begins with it; 0 is padding outside a segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from engines.text.word_lists import word_list

PAUSE = "pau"
PHONES: tuple[str, ...] = word_list(
    "pau aa ae ah ao aw ax axr ay b ch d dh dx eh el em en er ey f g hh hv ih iy jh k l m n nx ng ow oy p r s "
    "sh t th uh uw v w y z zh"
)
VOWELS = frozenset(word_list("aa ae ah ao aw ax axr ay eh er ey ih iy ow oy uh uw"))
NUM_PHONE_IDS = 1 + 4 * len(PHONES)
_INDEX = {symbol: index for index, symbol in enumerate(PHONES)}


class PauseType(IntEnum):
    """What the punctuation before a pause says about the words before it."""

    PLAIN = 1  # comma, colon, bracket, or nothing at all
    PERIOD = 2
    QUESTION = 3
    EXCLAIM = 4


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone of the stream and where it comes from.

    `start` and `end` span its source token in the text appended so far, in characters; a pause spans nothing.
    """

    id: int
    symbol: str
    word_index: int | None
    start: int
    end: int
    pause: PauseType | None
    rate: float = 1.0  # how much faster than the stream's own speed
    hold_s: float | None = None  # of a pause: how long, where the text says so

    @property
    def starts_word(self) -> bool:
        """First phone of a spoken word (a token may be read as several)."""
        return bool((self.id - 1) & 1)


def phone_id(symbol: str, *, stressed: bool, word_start: bool) -> int:
    return 1 + 4 * _INDEX[symbol] + 2 * stressed + word_start


def pause(kind: PauseType, at: int, hold_s: float | None = None) -> Phone:
    """A pause after the character `at`."""
    return Phone(phone_id(PAUSE, stressed=False, word_start=False), PAUSE, None, at, at, kind, 1.0, hold_s)
