"""Sentences for the teacher to speak.

They come from free texts that Debian packages bring (WordNet examples, fortunes, the handbook, the King James
bible) and from templates for what voice agents say. No text is shipped: only what the pupil learned from it is.
The same seed gives the same sentences.
"""

from __future__ import annotations

import glob
import html
import random
import re
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

_ALLOWED = re.compile(r"[A-Za-z0-9 ,.;:!?'\"()-]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_NAMES = [
    "Anna",
    "Peter",
    "Maria",
    "John",
    "Susan",
    "Robert",
    "Linda",
    "James",
    "Emma",
    "Oliver",
    "Grace",
    "Henry",
    "Lucy",
    "Daniel",
]
_PLACES = [
    "London",
    "Paris",
    "Berlin",
    "Chicago",
    "Boston",
    "Denver",
    "Madrid",
    "Tokyo",
    "Sydney",
    "Dublin",
    "Oslo",
    "Vienna",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_THINGS = [
    "order",
    "booking",
    "flight",
    "parcel",
    "invoice",
    "meeting",
    "call",
    "ticket",
    "payment",
    "message",
    "account",
    "delivery",
]
_VERBS = ["bin", "lay", "place", "set", "move", "bring", "take"]
_COLOURS = ["blue", "green", "red", "white", "black", "yellow"]
_OBJECTS = ["box", "cup", "book", "chair", "table", "lamp", "key", "phone"]
_RELATIONS = ["near", "by", "under", "over", "beside"]
_ROOMS = ["window", "door", "garden", "river", "kitchen", "school"]
_MINUTES = ["fifteen", "thirty", "forty five"]
_WHEN = ["again", "now", "soon", "please", "today"]
ENDS = ["", "", ".", ".", "!", "?", ","]  # of a short answer


def sentences(seed: int = 0) -> list[str]:
    """All distinct sentences, shuffled."""
    found: set[str] = set()
    for text in _sources():
        cleaned = _clean(text)
        if cleaned is not None:
            found.add(cleaned)
    ordered = sorted(found)
    random.Random(seed).shuffle(ordered)
    return ordered


def jobs(voice: str, seconds: float, seed: int, twice: bool = False) -> Iterator[tuple[str, float, str]]:
    """(voice, duration stretch, text) for about `seconds` of speech.

    A mix of sentences, joined sentences up to 30 s, agent phrases, and much that is short (fragments, letters, digits,
    lists, a sentence spoken again), because a length learned from sentences alone is wrong for a word that stands by
    itself; a part is lower-case and unpunctuated, as a recogniser or a hasty writer would send it, and half is spoken
    slower or faster. With `twice` each comes two times in a row: the teacher's noise differs, all else is equal.
    """
    rng = random.Random(f"{voice}-{seed}")
    mix = Mix(rng, sentences(seed), words())
    made_s = 0.0
    while made_s < seconds:
        stretch = round(rng.uniform(0.75, 1.35), 3) if rng.random() < 0.5 else 1.0
        text = mix.draw()
        if rng.random() < 0.12:
            text = re.sub(r"[^a-z0-9' ]", "", text.lower())
        length_s = len(text) * 0.068 * stretch
        if length_s > 29.0 or not text.strip():
            continue
        for _ in range(2 if twice else 1):
            made_s += length_s
            yield voice, stretch, text


def short_jobs(voice: str, count: int, seed: int) -> Iterator[tuple[str, float, str]]:
    """As `jobs`, but letters, words and a few words that stand alone, `count` of them."""
    rng = random.Random(f"{voice}-{seed}-short")
    draw = short_answers(rng, common_words(sentences(seed)), words())
    for _ in range(count):
        text = draw()
        stretch = round(rng.uniform(0.75, 1.35), 3) if rng.random() < 0.2 else 1.0
        yield voice, stretch, text + rng.choice(ENDS)


def common_words(pool: list[str]) -> list[str]:
    """Words as often as sentences have them."""
    return [word for line in pool[:20_000] for word in line.lower().strip(".,;:!?").split()]


def short_answers(rng: random.Random, common: list[str], rare: list[str]) -> Callable[[], str]:
    """Draws letters, words and a few words, without a mark at their end."""
    letters = ["ay", *string.ascii_lowercase[1:]]  # "a" alone would be read as the article
    kinds = {
        lambda: rng.choice(letters): 0.15,
        lambda: rng.choice(common): 0.3,
        lambda: rng.choice(rare): 0.1,
        lambda: " ".join(rng.choices(letters, k=rng.randint(2, 5))): 0.05,
        lambda: " ".join(rng.choices(common, k=rng.randint(2, 4))): 0.25,
        lambda: f"{rng.choice(common)} and {rng.choice(common)}": 0.15,
    }
    draws, shares = list(kinds), list(kinds.values())
    return lambda: rng.choices(draws, shares)[0]().strip(".,;:!?") or "so"


class Mix:
    """Draws texts of all kinds. Shares are of utterances; long ones fill most of the time all the same."""

    def __init__(self, rng: random.Random, pool: list[str], words: list[str], cursor: int | None = None) -> None:
        """`cursor` is the sentence to begin with, by chance without."""
        self._rng, self._pool, self._words = rng, pool, words
        self._cursor = rng.randrange(len(pool)) if cursor is None else cursor
        kinds = {
            self._sentences: 0.38,
            self._joined: 0.12,
            lambda: _phrase(rng): 0.13,
            self._fragment: 0.13,
            self._list: 0.06,
            self._some_words: 0.06,
            self._letters: 0.05,
            self._digits: 0.05,
            self._again: 0.02,
        }
        self._kinds, self._shares = list(kinds), list(kinds.values())

    def draw(self) -> str:
        return self._rng.choices(self._kinds, self._shares)[0]()

    def _next(self, count: int) -> str:
        first = self._cursor
        self._cursor += count
        return " ".join(self._pool[(first + i) % len(self._pool)] for i in range(count))

    def _end(self) -> str:
        return self._rng.choice([".", ".", "", "", "?", "!"])

    def _sentences(self) -> str:
        return self._next(1)

    def _joined(self) -> str:
        return self._next(self._rng.randint(2, 5))

    def _fragment(self) -> str:
        """One to six words from the middle of a sentence, sometimes two such in a row."""
        pieces = []
        for _ in range(self._rng.choice([1, 1, 1, 2])):
            words = self._rng.choice(self._pool).rstrip(".!?").split()
            start = self._rng.randrange(len(words))
            piece = " ".join(words[start : start + self._rng.randint(1, 6)])
            pieces.append((piece[0].upper() + piece[1:] if self._rng.random() < 0.5 else piece) + self._end())
        return " ".join(pieces)

    def _list(self) -> str:
        return ", ".join(self._rng.sample(self._words, self._rng.randint(1, 10))) + self._end()

    def _some_words(self) -> str:
        return " ".join(self._rng.sample(self._words, self._rng.randint(1, 4))) + self._end()

    def _letters(self) -> str:
        count = self._rng.choice([1, 1, 1, 2, 3, 3, 4, 5])
        return " ".join(self._rng.choices(string.ascii_letters, k=count)) + self._end()

    def _digits(self) -> str:
        """As telephone numbers are read: digits in groups with a breath between."""
        groups = [
            " ".join(self._rng.choices(_DIGITS, k=self._rng.randint(1, 4))) for _ in range(self._rng.randint(1, 4))
        ]
        return self._rng.choice([", ", " ", ". "]).join(groups) + self._end()

    def _again(self) -> str:
        """Short sentences alike but for a number, which a model of speech may take for a loop."""
        words = self._rng.choice(self._pool).rstrip(".!?").split()[:4]
        start = self._rng.randint(1, 4)
        count = self._rng.randint(2, 6)
        stem = " ".join(words)
        return " ".join(f"{stem} {_DIGITS[(start + index) % 10]}." for index in range(count))


def _clean(text: str) -> str | None:
    text = re.sub(r"\s+", " ", text).strip()
    text = text.replace("’", "'").replace("“", '"').replace("”", '"').replace("—", " - ").replace('"', "")
    if not 3 <= len(text.split()) <= 22 or not _ALLOWED.fullmatch(text):
        return None
    if sum(character.isalpha() for character in text) < 0.75 * len(text):
        return None
    if text[-1] not in ".!?":
        text += "."
    return text[0].upper() + text[1:]


def _sources() -> Iterator[str]:
    for name in sorted(glob.glob("/usr/share/wordnet/data.*")):
        for line in Path(name).read_text(errors="ignore").splitlines():
            if "|" in line and not line.startswith(" "):
                yield from re.findall(r'"([^"]+)"', line.split("|", 1)[1])
    for name in sorted(glob.glob("/usr/share/games/fortunes/*")):
        if name.endswith((".dat", ".u8")):
            continue
        for entry in Path(name).read_text(errors="ignore").split("\n%\n"):
            entry = re.sub(r"\n\s*--.*", "", entry, flags=re.S)
            yield from _SENTENCE_END.split(re.sub(r"\s+", " ", entry))
    for name in sorted(glob.glob("/usr/share/doc/debian-handbook/html/en-US/*.html")):
        page = html.unescape(re.sub(r"<[^>]+>", " ", Path(name).read_text(errors="ignore")))
        for sentence in _SENTENCE_END.split(page):
            yield re.sub(r"\s+([,.;])", r"\1", sentence)
    yield from _bible()


def _bible() -> Iterator[str]:
    try:
        spoken = subprocess.run(
            ["bible", "gen1:1-rev22:21"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return
    for sentence in re.split(r"(?<=[.!?:;])\s+", re.sub(r"\n\s+", " ", spoken)):
        yield re.sub(r"^\d+\s*", "", sentence)


def words() -> list[str]:
    lines = Path("/usr/share/dict/words").read_text(errors="ignore").split()
    return sorted({line.lower() for line in lines if line.isascii() and line.isalpha() and len(line) < 14})


def _number(rng: random.Random) -> str:
    return rng.choice(
        [str(rng.randint(0, 99)), str(rng.randint(100, 99999)), f"{rng.randint(1, 99)}.{rng.randint(0, 9)}"]
    )


def _phrase(rng: random.Random) -> str:
    pick = rng.choice
    templates = (
        lambda: (
            f"{pick(_VERBS).capitalize()} the {pick(_COLOURS)} {pick(_OBJECTS)} {pick(_RELATIONS)} the {pick(_ROOMS)} "
            f"number {pick(_DIGITS)} {pick(_WHEN)}."
        ),
        lambda: f"Your {pick(_THINGS)} number is {', '.join(pick(_DIGITS) for _ in range(rng.randint(3, 7)))}.",
        lambda: f"The {pick(_THINGS)} is on {pick(_DAYS)}, {pick(_MONTHS)} {rng.randint(1, 28)}.",
        lambda: f"Hello {pick(_NAMES)}, how can I help you with your {pick(_THINGS)} today?",
        lambda: f"Would you like to change your {pick(_THINGS)}, or cancel it?",
        lambda: f"I am sorry, {pick(_NAMES)}. I could not find that {pick(_THINGS)}.",
        lambda: f"The train from {pick(_PLACES)} to {pick(_PLACES)} leaves at {rng.randint(1, 12)} {pick(_MINUTES)}.",
        lambda: f"That comes to {_number(rng)} dollars and {rng.randint(1, 99)} cents.",
        lambda: f"Please hold the line while I check your {pick(_THINGS)}.",
        lambda: f"Thank you for calling! Is there anything else about the {pick(_THINGS)}?",
        lambda: f"It will be {_number(rng)} degrees in {pick(_PLACES)} on {pick(_DAYS)}.",
        lambda: (
            f"{pick(['Yes', 'No', 'Sure', 'Of course', 'Okay', 'Great'])}{pick(['.', ',', '!'])} "
            f"{pick(['I can do that', 'let me see', 'one moment please', 'that is right', 'no problem'])}."
        ),
        lambda: (
            f"{pick(['Yes', 'No', 'Hello', 'Goodbye', 'Thanks', 'Sorry', 'Please wait', 'Well', 'A', 'B', 'Okay'])}"
            f"{pick(['.', '!', '?', ''])}"
        ),
    )
    return pick(templates)()
