"""However a text is cut, its phones and segments are the same; every phone knows its characters; few words wait."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.families.phone_pointer.segmenter import LONGEST_PHONES, Segmenter
from engines.text import FrontEnd, Phone
from tests.text.test_readings import PASSAGES, ROWS

FRONT_END = FrontEnd.load()
GOLDEN = [written for written, _ in [*PASSAGES, *ROWS]]
SENTENCES = (Path(__file__).parent / "sentences.txt").read_text().splitlines()
TEXTS = st.lists(st.sampled_from([*GOLDEN, *SENTENCES]), min_size=1, max_size=6).flatmap(
    lambda parts: st.sampled_from([" ", "\n", "\n\n", ", "]).map(lambda between: between.join(parts))
)
MARKED = st.text(alphabet=st.sampled_from("aA1 9.,:;!?-_*`#|[](){}<>&$€'\"/\\\n\t~=+^%@²é中"), max_size=80)
FIRST_PHONES = 9  # a pause and the eight phones that the speech model sees ahead

Outcome = list[tuple[list[Phone], bool]]


def _segments(parts: list[str]) -> Outcome:
    stream, segmenter = FRONT_END.open(), Segmenter(1.0)
    segments = [segment for part in parts for segment in segmenter.feed(stream.append(part))]
    segments += segmenter.feed(stream.end())
    segmenter.close()
    return [(segment.phones, segment.closed) for segment in segments]


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


@pytest.mark.parametrize("text", GOLDEN, ids=[text[:40] for text in GOLDEN])
def test_golden_texts_are_cut_alike_word_by_word_and_by_character(text: str) -> None:
    whole = _segments([text])
    assert _segments(list(text)) == whole
    assert _segments(_words(text)) == whole


@settings(deadline=None, max_examples=300)
@given(text=st.one_of(TEXTS, MARKED), data=st.data())
def test_segments_do_not_depend_on_the_cuts(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[first:last] for first, last in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = _segments([text])
    assert _segments(pieces) == whole
    assert _segments(_words(text)) == whole


@settings(deadline=None, max_examples=200)
@given(text=st.one_of(TEXTS, MARKED))
def test_segments_are_well_formed(text: str) -> None:
    for phones, closed in _segments([text]):
        assert closed
        assert phones[0].pause is not None
        assert phones[-1].pause is not None
        assert len(phones) <= LONGEST_PHONES + 40  # the cut waits for a word's end


@settings(deadline=None, max_examples=200)
@given(text=st.one_of(TEXTS, MARKED))
def test_every_phone_spans_whole_tokens_in_order(text: str) -> None:
    stream, last_end, last_index = FRONT_END.open(), 0, -1
    for phone in stream.append(text) + stream.end():
        assert phone.start >= 0
        assert phone.end <= len(text)
        if phone.word_index is None:
            continue
        assert phone.word_index >= last_index
        assert phone.start >= last_end or phone.word_index == last_index
        written = text[phone.start : phone.end]
        assert written
        assert written.strip() == written
        last_index, last_end = phone.word_index, phone.end


def test_decimals_and_titles_end_no_segment() -> None:
    long = "Please tell the nice people over there that Dr. Smith paid exactly $3.14 to Mr. Lee, and that he left. "
    segments = _segments([long * 3])
    assert len(segments) == 3
    ends = {phones[-1].start for phones, _ in segments}
    assert ends == {len(long) * count - 1 for count in (1, 2, 3)}


def test_few_sentences_wait_for_a_word_beyond_the_first_look_ahead() -> None:
    """Only a homograph or an article may keep the first step waiting, and for one word."""
    waited = []
    for text in SENTENCES:
        whole = FRONT_END.phones(text)
        if len(whole) < FIRST_PHONES:
            continue
        stream, words, phones, arrived = FRONT_END.open(), _words(text), 0, 0
        while phones < FIRST_PHONES and arrived < len(words):
            phones += len(stream.append(words[arrived]))
            arrived += 1
        needed = len(_words(text[: whole[FIRST_PHONES - 1].end]))
        if needed < len(words):  # the last word is known only at the end of the text
            waited.append(arrived - needed)
    assert max(waited) <= 1
    assert sum(waited) / len(waited) <= 0.08
