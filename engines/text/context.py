"""What the reading of one token may know: what stood before it, and, on demand, what follows.

Asking for what follows raises NotYet when it has not arrived; the token is then read again later. So a reading depends
on exactly the tokens that it looked at, and never on when they came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.text.phrases import Phrases

OPENING = "([{\"'*_#>`~<|"
CLOSING = ")]}\"'*_`~>|"
STOPS = ".,;:!?—"
HALF_DAYS = ("am", "pm", "a.m", "p.m")
MAX_TOKEN_CHARS = 120  # a longer run without white space is read in pieces


class NotYet(Exception):
    """The answer depends on text that has not arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The token before; empty at the start of a sentence or after a flush."""

    core: str = ""  # without marks around it, as written
    number: str | None = None  # its digits when it was a plain number
    kind: object = None  # as an end of a range, see `ranges`
    telephone: bool = False
    starts_sentence: bool = True
    paused: bool = False  # a comma or the like stands behind it

    @property
    def lower(self) -> str:
        return self.core.lower()

    @property
    def capitalised(self) -> bool:
        return self.core[:1].isupper()

    @property
    def shouted(self) -> bool:
        return len(self.core) > 1 and self.core.isalpha() and self.core.isupper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    left: Left
    peek: Callable[[int], str | None]  # nth token after this one, from 1; None beyond the end. May raise NotYet
    dictionaries: tuple[Phrases, ...] = ()
    quoted: bool = False  # inside a quotation
    recent: tuple[str, ...] = ()  # the last tokens of the sentence before this one, without marks around them

    @property
    def before(self) -> str:
        """The last few words, in small letters."""
        return " ".join(self.recent).lower()

    def following(self, count: int = 1) -> str:
        """The nth following token without marks around it, "" beyond the end."""
        token = self.peek(count)
        return "" if token is None else token.lstrip(OPENING).rstrip(CLOSING + STOPS)

    def goes_on(self, count: int) -> bool:
        """Whether the nth following token has no mark behind it."""
        token = self.peek(count) or ""
        return token != "" and token[-1] not in STOPS + CLOSING

    def following_half_day(self) -> bool:
        return self.following().lower().rstrip(".") in HALF_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Spoken words of a token, and how many following tokens were read with it."""

    words: list[str]
    taken: int = 0
    telephone: bool = False
    rest: str = ""  # what the next token sees of this one, where that is not all
