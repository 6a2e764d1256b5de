"""Text ids: however text is cut, and equal to the whole text's."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.families.qwen3_tts.tokens import Cut, Token, TokenStream, ids_of
from models.checkpoints.qwen3_tts.sizes import SIZES
from models.checkpoints.qwen3_tts.writer import write_checkpoint
from models.exporting.qwen3_tts.tokenizer import built

TEXTS = st.text(
    st.sampled_from(
        "aehlo'srtd 12.,!?\n\r\t\u0301\u0327\u0323\u00e9\u4f60\u3002\u1100\u1161\u11a8<|im_end|>\U0001f600"
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_checkpoint(folder, SIZES["tiny"])
    return built(folder)


def tokens_of(tokenizer: Any, *pieces: str, longest: int = 100) -> list[Token]:
    stream = TokenStream(tokenizer, longest)
    return [token for piece in pieces for token in stream.feed(piece)] + stream.close()


@settings(max_examples=300)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_cuts_change_no_id(tokenizer: Any, text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    found = tokens_of(tokenizer, *(text[first:last] for first, last in pairwise(places)), longest=5)
    whole = unicodedata.normalize("NFC", text.strip())
    assert [token.id for token in found] == ids_of(tokenizer, whole)
    assert found == tokens_of(tokenizer, text, longest=5)
    assert all(token.word <= 5 for token in found)


def test_ids_come_as_soon_as_they_are_sure(tokenizer: Any) -> None:
    stream = TokenStream(tokenizer, 100)
    assert stream.feed("hello") == []
    assert [token.id for token in stream.feed(" world")] == ids_of(tokenizer, "hello")
    assert [token.id for token in stream.close()] == ids_of(tokenizer, " world")


def test_special_tokens_in_text_are_text(tokenizer: Any) -> None:
    assert max(ids_of(tokenizer, "<|im_end|><tts_pad>")) < 430


MARKS = {Cut.SENTENCE: "§", Cut.CLAUSE: "¦", Cut.WORD: "·", Cut.NONE: ""}


@pytest.mark.parametrize(
    "marked",
    [
        "·It ·is ·3.14. §Two。§三 ·now! §x? §y",
        '·He ·said: ¦"Go." §"So," ¦(a ·b) ·- ·c',
        "·- ·the ·fox\n¦- ·a ·dog\n\n§More",
        "·one, ¦two; ¦3,400 ·10:30 ·e-mail ·x/y",
        "·你·好，¦我·们·去。§“好。”§走",
        "·안녕하세요 ·여러분, ¦مرحبا ·بالعالم",
    ],
)
def test_where_segments_may_end(tokenizer: Any, marked: str) -> None:
    text = re.sub("[§¦·]", "", marked)
    found, at = "", 0
    for token, (first, last) in zip(tokens_of(tokenizer, text), tokenizer.encode(text).offsets, strict=True):
        piece = text[max(at, first) : last]
        found += re.sub(r"^\s*", lambda blank, cut=token.cut: blank[0] + MARKS[cut], piece, count=1)  # type: ignore[misc]
        at = max(at, last)
    assert found == marked


def test_a_word_is_given_out_whole(tokenizer: Any) -> None:
    stream = TokenStream(tokenizer, 100)
    assert [token.word for token in stream.feed("12.5 ")] == [4, 0, 0, 0]
    assert not any(token.word for token in stream.feed("x-y"))
    assert sum(token.word for token in stream.close()) == 3
