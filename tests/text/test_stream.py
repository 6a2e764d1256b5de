"""However text is cut, the phones are the same; whatever it holds, it is spoken or refused by name."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import TextError, UnspeakableText
from engines.text import FrontEnd, PauseType

FRONT_END = FrontEnd.load()
SENTENCES = st.lists(
    st.sampled_from(
        [
            "the",
            "apple",
            "Dr.",
            "Smith",
            "$3.5",
            "million",
            "Nov",
            "21,",
            "2026.",
            "-",
            "it's",
            "U.S.",
            "5",
            "km",
            "no.",
            "(well",
            "known)",
            "St.",
            "a",
            "...",
            "😀",
            "ok?!",
            "3:45pm",
            "naïve",
            "x" * 130,
        ]
    ),
    max_size=14,
).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(text=st.one_of(SENTENCES, st.text(max_size=60)), data=st.data())
def test_cutting_changes_nothing(text: str, data: st.DataObject) -> None:
    whole = FRONT_END.open()
    expected = whole.append(text) + whole.end()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    for parts in (pieces, list(text)):
        stream = FRONT_END.open()
        found = [phone for part in parts for phone in stream.append(part)]
        assert found + stream.end() == expected


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=80))
def test_stream_is_well_formed(text: str) -> None:
    stream = FRONT_END.open()
    found = stream.append(text) + stream.end()
    pauses = [phone.pause is not None for phone in found]
    assert not any(a and b for a, b in zip(pauses, pauses[1:]))
    if found:
        assert pauses[0]
        assert pauses[-1]
        assert not all(pauses)
    assert all(0 <= phone.start <= phone.end <= len(text) for phone in found)


def test_spans_point_at_source_tokens() -> None:
    text = "It costs $12.50, sir."
    spans = {text[phone.start : phone.end] for phone in FRONT_END.phones(text) if phone.pause is None}
    assert spans == {"It", "costs", "$12.50,", "sir."}


def test_punctuation_names_its_pause() -> None:
    kinds = [phone.pause for phone in FRONT_END.phones("Well, is it? Yes! Good.") if phone.pause is not None]
    assert kinds == [PauseType.PLAIN, PauseType.PLAIN, PauseType.QUESTION, PauseType.EXCLAIM, PauseType.PERIOD]


def test_the_before_a_vowel() -> None:
    symbols = [phone.symbol for phone in FRONT_END.phones("the apple and the dog")]
    assert symbols[1:3] == ["dh", "iy"]
    assert symbols[symbols.index("d", 6) + 1 : symbols.index("d", 6) + 3] == ["dh", "ax"]


@pytest.mark.parametrize("text", ["", "   ", "😀", "!?", "\x00\x07", "...", "()"])
def test_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(UnspeakableText, match="at least one letter or digit"):
        FRONT_END.phones(text)


def test_append_after_end_is_refused() -> None:
    stream = FRONT_END.open()
    stream.end()
    with pytest.raises(TextError):
        stream.append("more")


def test_letter_rules_agree_with_the_teacher() -> None:
    packed = (Path(__file__).parent / "held_out_words.txt.xz").read_bytes()
    words = [line.split(" ") for line in lzma.decompress(packed).decode().splitlines()]
    agreed = sum(list(FRONT_END.lexicon.rules.pronounce(word)) == phones for word, *phones in words)
    assert len(words) >= 5_000
    assert agreed / len(words) >= 0.99


def test_long_runs_without_spaces_end() -> None:
    assert FRONT_END.phones("a" * 4_000)
    assert FRONT_END.phones("7" * 4_000)
