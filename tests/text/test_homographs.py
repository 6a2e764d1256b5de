"""Words that are written alike and pronounced in two ways, in sentences; and the same fed in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.text import FrontEnd

FRONT_END = FrontEnd.load()
ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "homographs.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def _phones_of(word: str, sentence: str) -> str:
    stressed = [
        (sentence[phone.start : phone.end], phone.symbol + "1" * ((phone.id - 1) >> 1 & 1))
        for phone in FRONT_END.phones(sentence)
        if phone.pause is None
    ]
    return " ".join(symbol for token, symbol in stressed if token.lower().strip(".,!?") == word)


@pytest.mark.parametrize(("word", "sentence", "phones"), ROWS, ids=[sentence for _, sentence, _ in ROWS])
def test_homograph(word: str, sentence: str, phones: str) -> None:
    assert _phones_of(word, sentence) == phones
    whole = FRONT_END.open()
    expected = whole.append(sentence) + whole.end()
    stream = FRONT_END.open()
    found = [phone for word in sentence.split(" ") for phone in stream.append(word + " ")]
    assert [phone.id for phone in found + stream.end()] == [phone.id for phone in expected]
