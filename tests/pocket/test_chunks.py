"""Chunks of text: where they end depends on the text before alone, and what may be prefilled never changes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.families.pocket.bundle import Bundle, TextRules
from engines.families.pocket.chunks import MOST_TOKENS, Chunk, Chunker, frames_after_end, most_frames
from engines.families.pocket.tokens import WordTokens

RULES = TextRules(
    vocabulary=4000, replaced={"’": "'", "—": ","}, removes_semicolons=False, adds_full_stop=True, capitalises=True
)


class Letters:
    """A token for each space and character."""

    def ids(self, word: str) -> tuple[int, ...]:
        return tuple(ord(letter) for letter in " " + word) if word else ()

    def cut(self, word: str, most: int) -> int:
        return min(len(word), most - 1)

    def is_unknown(self, word: str) -> bool:
        return set(word) == {"?"}


def spoken(*pieces: str, rules: TextRules = RULES) -> list[str]:
    chunker, chunks = Chunker(rules, Letters()), list[Chunk]()
    for piece in pieces:
        chunks += chunker.feed(piece)
    chunks += chunker.close()
    assert all(chunk.closed for chunk in chunks)
    return ["".join(map(chr, chunk.ids))[1:] for chunk in chunks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", ["Hello."]),
        ("  hello,\n there  ", ["Hello, there."]),
        ("Is that so?", ["Is that so?"]),
        ('He said "no', ['He said "no.']),
        ('He said "no"', ['He said "no".']),
        ("Wait -", ["Wait ."]),
        ("Hi. Go on with this. And this.", ["Hi. Go on with this.", "And this."]),
        ("It’s here—now go", ["It's here,now go."]),
        ("Ask Mr. Smith of J. Bond Ltd now.", ["Ask Mr. Smith of J. Bond Ltd now."]),
        ("Pay 3.5 to him, not 4.5 to her.", ["Pay 3.5 to him, not 4.5 to her."]),
        ("One two three four five six seven, eight nine.", ["One two three four five six seven.", "Eight nine."]),
        ("a " * 30, ["A " + "a " * 22 + "a.", "A a a a a a."]),
        (", . well", ["Well."]),
        ("? so", ["So."]),
    ],
)
def test_where_chunks_end(text: str, expected: list[str]) -> None:
    assert spoken(text) == expected


def test_rules_of_a_model() -> None:
    plain = TextRules(vocabulary=1, replaced={}, removes_semicolons=True, adds_full_stop=False, capitalises=False)
    assert spoken("so; they say", rules=plain) == ["so, they say"]


@given(
    text=st.text(st.sampled_from('abcDE .,;:!?"—’\n'), max_size=300), cuts=st.lists(st.integers(0, 300), max_size=20)
)
@settings(deadline=None)
def test_chunks_do_not_depend_on_how_text_comes(text: str, cuts: list[int]) -> None:
    ends = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(ends)]
    assert spoken(*pieces) == spoken(text)
    assert all(len(one) + 1 <= MOST_TOKENS for one in spoken(text))


@given(text=st.text(st.sampled_from("abcDE .,;:!?"), max_size=200))
@settings(deadline=None)
def test_what_may_be_prefilled_stays(text: str) -> None:
    chunker, chunks, seen = Chunker(RULES, Letters()), list[Chunk](), dict[int, list[int]]()
    for letter in text:
        chunks += chunker.feed(letter)
        for at, chunk in enumerate(chunks):
            assert chunk.ids[: len(seen.get(at, []))] == seen.get(at, [])
            seen[at] = list(chunk.ids)


def test_words_before_the_newest_can_be_prefilled() -> None:
    chunker = Chunker(RULES, Letters())
    (chunk,) = chunker.feed("one two three ")
    assert "".join(map(chr, chunk.ids)) == " One two"
    assert not chunk.closed


def test_a_word_without_end_is_cut() -> None:
    assert max(map(len, spoken("a" * 10_000))) < MOST_TOKENS
    assert sum(map(len, spoken("a" * 10_000))) >= 10_000


def test_unknown_words_are_left_out_and_named() -> None:
    chunker = Chunker(RULES, Letters())
    chunker.feed("so ??? and ?? be it ")
    assert [*chunker.left_out] == ["???", "??"]


def test_how_long_speech_lasts() -> None:
    assert most_frames(50, 0.08) == 234
    assert (frames_after_end(Chunk(words=4), None), frames_after_end(Chunk(words=5), None)) == (5, 3)
    assert frames_after_end(Chunk(words=4), 2) == 2


def test_chunks_of_the_tokenizer_fit(bundle: Path) -> None:
    read = Bundle.load(bundle)
    chunker, chunks = Chunker(read.text, WordTokens(read.folder / "tokenizer.json", 4000)), list[Chunk]()
    for line in Path("README.md").read_text(encoding="utf-8").splitlines():
        chunks += chunker.feed(line + "\n")
    chunks += chunker.close()
    assert len(chunks) > 50
    assert max(len(chunk.ids) for chunk in chunks) <= MOST_TOKENS
