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
from collections.abc import Iterator
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


def jobs(voice: str, seconds: float, seed: int) -> Iterator[tuple[str, float, str]]:
    """(voice, duration stretch, text) for about `seconds` of speech.

    A mix of single sentences, joined sentences up to 30 s, word lists and agent phrases; a part is lower-case and
    unpunctuated, as a recogniser or a hasty writer would send it, and half is spoken slower or faster.
    """
    rng = random.Random(f"{voice}-{seed}")
    pool = sentences(seed)
    words = _words()
    cursor = rng.randrange(len(pool))
    made_s = 0.0
    while made_s < seconds:
        kind = rng.random()
        stretch = round(rng.uniform(0.75, 1.35), 3) if rng.random() < 0.5 else 1.0
        if kind < 0.52:
            count = 1
        elif kind < 0.70:
            count = rng.randint(2, 5)
        else:
            count = 0
        if count:
            text = " ".join(pool[(cursor + i) % len(pool)] for i in range(count))
            cursor += count
        elif kind < 0.84:
            text = _phrase(rng)
        elif kind < 0.90:
            letters = rng.choices(string.ascii_letters, k=rng.choice([1, 1, 1, 2, 3, 5]))
            text = " ".join(letters) + rng.choice([".", "", "?", "!"])
        elif kind < 0.96:
            text = ", ".join(rng.sample(words, rng.randint(1, 10))) + rng.choice([".", "", "?", "!"])
        else:
            text = " ".join(rng.sample(words, rng.randint(1, 4))) + rng.choice([".", "", "?"])
        if rng.random() < 0.12:
            text = re.sub(r"[^a-z0-9' ]", "", text.lower())
        length_s = len(text) * 0.068 * stretch
        if length_s > 29.0 or not text.strip():
            continue
        made_s += length_s
        yield voice, stretch, text


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


def _words() -> list[str]:
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
