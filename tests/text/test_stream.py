"""However text is cut, the phones are the same; whatever it holds, it is spoken or refused by name."""

from __future__ import annotations

import itertools

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
        assert stream.words == whole.words


@settings(deadline=None, max_examples=200)
@given(text=st.one_of(SENTENCES, st.text(max_size=80)))
def test_stream_is_well_formed(text: str) -> None:
    stream = FRONT_END.open()
    found = stream.append(text) + stream.end()
    pauses = [phone.pause is not None for phone in found]
    assert not any(a and b for a, b in itertools.pairwise(pauses))
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


@pytest.mark.parametrize("text", ["", "   ", "😀", "!?", "\x00\x07", "...", "()", "東京", "---", "\n\n\n"])
def test_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(UnspeakableText, match="at least one letter or digit"):
        FRONT_END.phones(text)


def test_append_after_end_is_refused() -> None:
    stream = FRONT_END.open()
    stream.end()
    with pytest.raises(TextError):
        stream.append("more")


def test_words_go_out_as_soon_as_they_are_sure() -> None:
    stream = FRONT_END.open()
    assert [phone.symbol for phone in stream.append("Hello, ")] == "pau hh ax l ow pau".split()
    assert [phone.symbol for phone in stream.append("dogs ")] == "d aa g z".split()
    assert [phone.symbol for phone in stream.append("the ")] == ["dh"]  # its vowel waits for the next word
    assert [phone.symbol for phone in stream.append("apple ")][:2] == "iy ae".split()
    assert [phone.symbol for phone in stream.append("record ")] == ["r"]  # a noun or a verb
    assert [phone.symbol for phone in stream.append("player is ")][:3] == "eh k er".split()


def test_flush_speaks_all_and_goes_on_without_a_second_pause() -> None:
    stream = FRONT_END.open()
    first = stream.append("Give me the") + stream.flush()
    assert [phone.symbol for phone in first][-3:] == ["dh", "ax", "pau"]
    then = stream.append(" apple") + stream.end()
    assert then[0].symbol == "ae"
    assert then[-1].pause is PauseType.PLAIN
    assert [phone.word_index for phone in then][:-1] == [3] * (len(then) - 1)
    assert stream.flush() == stream.end() == []


def test_word_indices_count_spoken_tokens() -> None:
    found = [phone for phone in FRONT_END.phones("😀 It costs -- $12.50 !") if phone.pause is None]
    assert sorted({phone.word_index for phone in found if phone.word_index is not None}) == [0, 1, 2]


def test_scripts_without_a_reading_are_reported() -> None:
    stream = FRONT_END.open()
    stream.append("tower of 東京 and 大阪")
    assert "".join(stream.unspeakable) == "東京"
    stream.end()
    assert "".join(stream.unspeakable) == "東京大阪"


def test_long_runs_without_spaces_end() -> None:
    assert FRONT_END.phones("a" * 4_000)
    assert FRONT_END.phones("7" * 4_000)
