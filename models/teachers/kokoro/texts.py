"""What Kokoro says: the corpus of the other teacher, and what it lacks, namely questions, dialogue and long paragraphs.

A block is about a minute of speech of one voice and a function of its number alone, so any process can make any block.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from models.teacher import corpus

CHARS_PER_S = 15.0
MAX_CHARS = 440  # some 30 s, and within the tokens that fit
_FASTEST, _SLOWEST = 0.8, 1.3
_OWN_TEMPO = 0.65  # share at the teacher's own
_SENTENCES_PER_BLOCK = 40  # more than a block uses, so that blocks share none until the pool is through
_SEED = 1
_DANGLING = re.compile(r"[,;:]+\.(?= |$)")  # where a verse was cut
_ASKING = (
    "could you tell me", "do you know", "would you mind telling me", "can I ask", "may I know", "have you heard",
)  # fmt: skip
_WHAT = (
    "where the nearest station is", "how long it takes", "what time it opens", "why it was late", "which one is mine",
    "how much that costs", "if there is room for two", "when they will be back", "whose turn it is", "what it means",
)  # fmt: skip
_OPENERS = (
    "Well", "Oh", "Right", "Hm, let me think", "Good morning", "I see", "Sorry", "Of course", "Not really", "Actually",
    "To be honest", "Wait", "Really", "Thank you", "No problem", "Never mind", "Exactly", "Maybe", "Hello there",
)  # fmt: skip
_CONTENT = 0.85
_LONE = 0.6  # of the short answers: words and letters; the others are what an agent or its caller says
_NAMES = ("Tom", "Sarah", "Mister Lee", "Doctor Brown", "Kate", "Ben", "Alice", "my friend")


class EmptyCorpusError(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    text: str
    stretch: float  # of durations; 1 is the teacher's own tempo


class Texts:
    """Reads the corpus once. `pool` are its sentences, `words` a list of single words."""

    def __init__(self, pool: list[str] | None = None, words: list[str] | None = None) -> None:
        self.pool = corpus.sentences(_SEED) if pool is None else pool
        self.words = corpus.words() if words is None else words
        if not self.pool or not self.words:
            raise EmptyCorpusError(
                "the corpus is empty: install Debian's wordnet-base, fortunes, debian-handbook, bible-kjv and wamerican"
            )
        self._questions = [one for one in self.pool if one.endswith("?")] or self.pool
        self._common = corpus.common_words(self.pool)
        self._content = [one for one in self._common if len(one) > 4] or self._common
        self._exclamations = [one for one in self.pool if one.endswith("!")] or self.pool

    def block(self, number: int, seconds: float) -> Iterator[Job]:
        rng = random.Random(f"kokoro {number}")
        mix = corpus.Mix(rng, self.pool, self.words, cursor=number * _SENTENCES_PER_BLOCK)
        made_s = 0.0
        while made_s < seconds:
            text = _DANGLING.sub(".", self._text(rng, mix))
            if len(text) > MAX_CHARS or not any(mark.isalnum() for mark in text):
                continue
            stretch = 1.0 if rng.random() < _OWN_TEMPO else round(rng.uniform(_FASTEST, _SLOWEST), 3)
            made_s += (len(text) / CHARS_PER_S + 0.3) * stretch
            yield Job(text=text, stretch=stretch)

    def short(self, number: int, count: int) -> Iterator[Job]:
        """Answers of a few words, of which sentences have too few to learn how long a word by itself lasts."""
        rng = random.Random(f"kokoro short {number}")
        draw = corpus.short_answers(rng, self._common, self.words)
        for _ in range(count):
            text = draw() + rng.choice(corpus.ENDS) if rng.random() < _LONE else self._opener(rng)
            stretch = 1.0 if rng.random() < _OWN_TEMPO else round(rng.uniform(_FASTEST, _SLOWEST), 3)
            yield Job(text=text[0].upper() + text[1:] if rng.random() < 0.5 else text, stretch=stretch)

    def odd(self, number: int, count: int) -> Iterator[Job]:
        """What no sentence is: runs of words, words between all kinds of marks, figures, beginnings and ends."""
        rng = random.Random(f"kokoro odd {number}")
        kinds = (self._run, self._run, self._marked, self._marked, self._cut_off, self._figure)
        while count:
            text = rng.choice(kinds)(rng)
            if len(text) > MAX_CHARS:
                continue
            count -= 1
            stretch = 1.0 if rng.random() < _OWN_TEMPO else round(rng.uniform(_FASTEST, _SLOWEST), 3)
            yield Job(text=text, stretch=stretch)

    def _run(self, rng: random.Random) -> str:
        return " ".join(self._drawn(rng, rng.randint(2, 30))) + rng.choice([".", "?", "!", "", ","])

    def _marked(self, rng: random.Random) -> str:
        first, last, *words = self._drawn(rng, rng.randint(3, 8))
        text = first.capitalize()
        for word in words:
            text += rng.choice([", ", ", ", " and ", " or ", "; ", ": ", " - "]) + word
        return text + rng.choice([".", "!", "?", "", f" ({last}).", f": ({last})!"])

    def _cut_off(self, rng: random.Random) -> str:
        (word,) = self._drawn(rng, 1)
        joint = rng.choice(["and", "but", "so", "or", "then", "because"])
        few = (
            f"...{joint} {word}",
            f"{word}, etc.",
            f"One {word}.",
            f"{joint} {word}...",
            f"e.g. {word}",
            f"the {word}",
        )
        return rng.choice(few)

    def _figure(self, rng: random.Random) -> str:
        value = rng.randint(0, 10 ** rng.randint(1, 6))
        forms = (f"{value}", f"{value}.", f"{value / 100:.2f}", f"${value}.", f"{value}%")
        return rng.choice([*forms, f"{value} {self._drawn(rng, 1)[0]}."])

    def _drawn(self, rng: random.Random, count: int) -> list[str]:
        """Mostly nouns and the like, which no sentence has in such numbers."""
        return [rng.choice(self._content if rng.random() < _CONTENT else self._common) for _ in range(count)]

    def _text(self, rng: random.Random, mix: corpus.Mix) -> str:
        draw = rng.random()
        if draw < 0.10:
            return rng.choice(self._questions)
        if draw < 0.16:
            asking = rng.choice(_ASKING)
            return f"{asking[0].upper() + asking[1:]} {rng.choice(_WHAT)}?"
        if draw < 0.20:
            return rng.choice(self._exclamations)
        if draw < 0.30:
            return self._dialogue(rng)
        if draw < 0.34:
            return self._paragraph(rng)
        text = mix.draw()
        if rng.random() < 0.08:  # as a recogniser or a hasty writer would send it
            return re.sub(r"[^a-z0-9' ]", "", text.lower())
        return text

    def _opener(self, rng: random.Random) -> str:
        opener = rng.choice(_OPENERS)
        if rng.random() < 0.4:
            opener += f", {rng.choice(_NAMES)}"
        return opener + rng.choice([".", ",", "!", "?", "..."])

    def _dialogue(self, rng: random.Random) -> str:
        opener = self._opener(rng)
        if rng.random() < 0.25:
            return opener
        rest = rng.choice(self._questions if rng.random() < 0.3 else self.pool)
        return f"{opener} {rest[0].lower() + rest[1:] if opener[-1] == ',' else rest}"

    def _paragraph(self, rng: random.Random) -> str:
        """Up to 30 s, as an agent reads an answer."""
        start, text = rng.randrange(len(self.pool)), ""
        for offset in range(20):
            one = self.pool[(start + offset) % len(self.pool)]
            if len(text) + len(one) + 1 > MAX_CHARS:
                break
            text = f"{text} {one}".strip()
        return text
