"""What the clients say, and how they feed it. The stock is fixed, so that a text's audio is the same in every run.

Short texts are an agent's interjections, medium ones its answers, long ones (12 s of speech and more) readings, which
a server with a cap on how far it works ahead cannot finish in one go. A text is sent whole, or a word at a time.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_STOCK_SEED = 7
_LONG_TEXTS = 10
_LONG_SENTENCES = 3
_Card = TypeVar("_Card")


class Kind(StrEnum):
    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


class Feeding(StrEnum):
    WHOLE = "whole"
    WORDS_10_MS = "words-10ms"
    WORDS_400_MS = "words-400ms"
    HTTP = "http"  # whole, over HTTP; the others go over the WebSocket

    @property
    def word_gap_s(self) -> float:
        """Seconds between words; 0 sends all at once."""
        return {Feeding.WORDS_10_MS: 0.01, Feeding.WORDS_400_MS: 0.4}.get(self, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    kind: Kind
    text: str

    @property
    def seed(self) -> int:
        """The same text is always spoken with the same seed: its bytes are known."""
        return zlib.crc32(self.text.encode()) >> 1

    @property
    def words(self) -> list[str]:
        return self.text.split()

    def feeding_s(self, feeding: Feeding) -> float:
        """From the first word sent to the last."""
        return feeding.word_gap_s * (len(self.words) - 1)


KIND_SHARES = {Kind.SHORT: 0.40, Kind.MEDIUM: 0.35, Kind.LONG: 0.25}
FEEDING_SHARES = {Feeding.WHOLE: 0.50, Feeding.WORDS_10_MS: 0.35, Feeding.WORDS_400_MS: 0.15}

_SHORT = (
    "One moment, please.",
    "Sure, I can help with that.",
    "Good morning, who is calling?",
    "Your code is four two seven one.",
    "Thank you, that is all I need.",
    "I am sorry, could you say that again?",
    "Yes, the shop is open today.",
    "Let me check that for you.",
    "Your train leaves at nine fifteen.",
    "No problem, take your time.",
    "It will be ready in ten minutes.",
    "Goodbye, and have a pleasant evening.",
)
_MEDIUM = (
    "This is the front desk. Your table for four is ready, and the chef recommends the grilled salmon.",
    "I checked your order. It left the warehouse on Tuesday and should arrive before the end of the week.",
    "Please hold the line while I look that up. It will only take a moment, and I will be right back with you.",
    "The weather tomorrow will be mild with some clouds in the morning and a light breeze from the west.",
    "Turn left at the next light, go straight for two miles, and then take the second exit at the circle.",
    "Is there anything else that I can help you with today, or would you like to hear the list again?",
    "The doctor can see you on Thursday at half past ten, or on Friday in the afternoon if you prefer.",
    "We received your payment, and the new card should reach you by mail within five working days.",
    "The museum opens at ten and closes at six, and children under twelve come in without a ticket.",
    "Your flight has a short delay. The new departure time is seven forty, and the gate has not changed.",
    "To reset the router, hold the small button on the back for ten seconds and wait for the green light.",
    "The recipe needs two cups of flour, one cup of milk, three eggs, and a little bit of salt.",
)


def _stock() -> tuple[Text, ...]:
    rng = random.Random(_STOCK_SEED)
    long = [" ".join(rng.sample(_MEDIUM, _LONG_SENTENCES)) for _ in range(_LONG_TEXTS)]
    return (
        *(Text(kind=Kind.SHORT, text=text) for text in _SHORT),
        *(Text(kind=Kind.MEDIUM, text=text) for text in _MEDIUM),
        *(Text(kind=Kind.LONG, text=text) for text in long),
    )


STOCK = _stock()


def draw(rng: random.Random, count: int, kinds: frozenset[Kind] = frozenset(Kind)) -> list[tuple[Text, Feeding]]:
    """`count` texts with a feeding each. Shares are dealt, not diced: a short level has the mix of a long one.

    Long texts are not fed at 400 ms a word: no level would end.
    """
    dealt = zip(
        _deal(rng, count, {kind: share for kind, share in KIND_SHARES.items() if kind in kinds}),
        _deal(rng, count, FEEDING_SHARES),
        strict=True,
    )
    drawn = []
    for kind, feeding in dealt:
        if kind is Kind.LONG and feeding is Feeding.WORDS_400_MS:
            feeding = Feeding.WORDS_10_MS
        drawn.append((rng.choice([one for one in STOCK if one.kind is kind]), feeding))
    return drawn


def _deal(rng: random.Random, count: int, shares: Mapping[_Card, float]) -> list[_Card]:
    """`count` cards in random order, each as often as its share says, give or take one."""
    total, cards, owed = sum(shares.values()), list[_Card](), 0.0
    for card, share in shares.items():
        owed += count * share / total
        cards += [card] * (round(owed) - len(cards))
    rng.shuffle(cards)
    return cards


def mean_audio_s(audio_s: Mapping[str, float]) -> float:
    """Expected length of a drawn text, from the length of each."""
    total = 0.0
    for kind, share in KIND_SHARES.items():
        lengths = [audio_s[one.text] for one in STOCK if one.kind is kind]
        total += share * sum(lengths) / len(lengths)
    return total
