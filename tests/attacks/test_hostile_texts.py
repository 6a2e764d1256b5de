"""Texts made to be slow: whatever they are, a slice reads few characters, makes few words and few phones.

What one token costs is held against an ordinary one in the same process, in processor time of this thread.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Iterator

import httpx

from engines.families.phone_pointer.script import WORDS_A_SLICE
from engines.text import FrontEnd, TextStream, parse_dictionary
from engines.text.context import MAX_TOKEN_CHARS
from engines.text.pronunciation import MAX_SAY_CHARS
from engines.text.stream import MAX_PHONES, MAX_READ_CHARS
from tests.attacks.victim import Victim

FRONT_END = FrontEnd.load()
UNITS = [
    *"1aAx0.,-–/*_$%^'\"()[]{}<>&;:!?#@+=|`~\\—²½≡【】…㎪ﷺ㋿⒇東éªhmvXMIf",
    "𝟘", "\u200b", "\u200f", "\u202e", "\x00", "a\u0301", "nd", "am", "Mc", "www.", "http://", "](", "![", "<b", "&#",
    "&amp;", "<!--", "\\frac{", "$$", "**", "==", "'s", "1,", "1.", "1-", "1/", "1:", "a.", "a-", "A.", "1a", "a1",
    "(1", "v1.", "0x", "::", "1_", "$1", "10%-", "Ω", "ё", "0a", "f0",
]  # fmt: skip
SLICE_CHARS = 64
ORDINARY = "It is a quiet evening, and nobody in the house has anything to say. " * 2
COSTS_AT_MOST = 40  # times a slice of an ordinary text; measured: 10


def hostile() -> Iterator[str]:
    for unit in UNITS:
        yield unit * MAX_TOKEN_CHARS
    rng = random.Random(1)
    for _ in range(1_000):
        one, two, three = (rng.choice(UNITS) for _ in range(3))
        length = rng.randrange(1, MAX_TOKEN_CHARS)
        yield from (
            one * (MAX_TOKEN_CHARS - 1) + two,
            (one + two) * (MAX_TOKEN_CHARS // 2),
            (one * length + two) * (1 + MAX_TOKEN_CHARS // (length + 1)) + three,
            " ".join([(one + two) * 3] * 20),
        )


def slices(stream: TextStream, text: str) -> Iterator[int]:
    """Reads as the loop does; the phones that each slice brings."""
    for first in range(0, len(text), SLICE_CHARS):
        stream.feed(text[first : first + SLICE_CHARS])
        while stream.busy:
            yield len(stream.more(WORDS_A_SLICE))
    stream.close()
    while stream.busy:
        yield len(stream.more(WORDS_A_SLICE))


def test_a_slice_reads_little_whatever_the_text_is() -> None:
    """Every respelling is as long as it may be, every phrase as long, and most words begin one."""
    units, say = "1 a A x 0 h I ё 東 1a a1 0a f0".split(), "≡1" * (MAX_SAY_CHARS // 2)
    words = [unit * (MAX_TOKEN_CHARS // len(unit)) for unit in units]
    entries = [{"word": " ".join([word] * 7 + ["end"]), "say": say} for word in words]
    entries += [{"word": word, "say": say} for word in units]
    dictionary = parse_dictionary({"entries": entries}, "request")
    for text in itertools.islice(hostile(), 0, None, 80):
        stream = FRONT_END.open((dictionary,))
        read = 0
        for phones in slices(stream, f"{text} {text} {text} end"):
            assert stream._words.read_chars - read <= MAX_READ_CHARS + MAX_SAY_CHARS
            assert phones <= 2 * MAX_PHONES
            read = stream._words.read_chars


def slice_cost_s(text: str) -> float:
    stream, dearest_s = FRONT_END.open(), 0.0
    begun_s = time.thread_time()
    for _ in slices(stream, text):
        ended_s = time.thread_time()
        dearest_s, begun_s = max(dearest_s, ended_s - begun_s), time.thread_time()
    return dearest_s


def test_no_token_costs_much_more_than_ordinary_ones() -> None:
    ordinary_s = statistics.median(slice_cost_s(ORDINARY) for _ in range(50))
    for text in hostile():
        if slice_cost_s(text) > COSTS_AT_MOST * ordinary_s:  # once more: a first time may pay for other things
            assert min(slice_cost_s(text) for _ in range(5)) <= COSTS_AT_MOST * ordinary_s, repr(text)


def test_texts_appended_by_single_characters_are_not_read_again_for_each() -> None:
    """A token that waits for what follows is looked at when a token has come, not when a character has."""
    stream = FRONT_END.open()
    stream.append("1 ")  # may go on as a telephone number does
    before = stream._words.read_chars
    for _ in range(50):
        stream.append("2")
    assert stream._words.read_chars == before


def test_texts_beside_a_listener(client: httpx.Client, victim: Victim) -> None:
    for text in (
        "\x00" * 4_000 + "end",
        "\u200b" * 4_000 + "end",
        "\u202eend" * 1_000,
        "a" + "\u0301" * 4_000,
        "ﷺ" * 4_000 + " end",
        "🎉" * 4_000 + " end",
        "👩\u200d👩\u200d👧\u200d👦" * 580 + " end",
        "🇪🇺" * 2_000 + " end",
        "z\u0335\u0322\u0321\u0327\u0328" * 680 + " end",
        "🏴" + "\U000e0067" * 4_000 + " end",
        "⒇" * 4_096,
        "≡" * 4_096,
        "1" * 4_096,
        "1 " * 2_048,
        "0a" * 2_048,
        "](" * 2_000 + "end",
        "<!--" * 1_000 + "end",
        "\n" * 4_000 + "end",
        "`" * 4_000 + "end",
        "1-" * 2_048,
    ):
        with client.stream("POST", "/v1/audio/speech", json={"input": text, "response_format": "pcm"}) as answer:
            assert answer.status_code in (200, 400), text[:10]
            for number, _ in enumerate(answer.iter_bytes()):
                if number == 40:
                    break  # it would speak for minutes
