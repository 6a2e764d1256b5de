"""Text ids: however text is cut, and equal to the whole text's."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.families.qwen3_tts.tokens import TokenStream, ids_of
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


@settings(max_examples=300)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_cuts_change_no_id(tokenizer: Any, text: str, cuts: list[int]) -> None:
    stream, found, places = (
        TokenStream(tokenizer),
        [],
        sorted({0, len(text), *(cut for cut in cuts if cut < len(text))}),
    )
    for first, last in pairwise(places):
        found += stream.feed(text[first:last])
    found += stream.close()
    whole = unicodedata.normalize("NFC", text.strip())
    assert [token.id for token in found] == ids_of(tokenizer, whole)


def test_ids_come_as_soon_as_they_are_sure(tokenizer: Any) -> None:
    stream = TokenStream(tokenizer)
    assert stream.feed("hello") == []
    assert [token.id for token in stream.feed(" world")] == ids_of(tokenizer, "hello")
    assert [token.id for token in stream.close()] == ids_of(tokenizer, " world")


def test_special_tokens_in_text_are_text(tokenizer: Any) -> None:
    assert max(ids_of(tokenizer, "<|im_end|><tts_pad>")) < 430


def test_sentences_begin_behind_a_mark_and_white_space(tokenizer: Any) -> None:
    stream = TokenStream(tokenizer)
    tokens = [*stream.feed("It is 3.14. Two\u3002三 now! "), *stream.feed("x? y"), *stream.close()]
    text = "".join(tokenizer.id_to_token(token.id) for token in tokens)
    assert sum(token.begins_sentence for token in tokens) == 4, text
