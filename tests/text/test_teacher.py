"""Words and sentences sound as the teacher says them. The teacher's phones were written by `build_lexicon`."""

from __future__ import annotations

import difflib
import lzma
from pathlib import Path

import pytest

from engines.text import NUM_PHONE_IDS, PHONES, VOWELS, FrontEnd, phone_id

HERE = Path(__file__).parent
FRONT_END = FrontEnd.load()


def test_letter_rules_agree_with_the_teacher() -> None:
    packed = (HERE / "held_out_words.txt.xz").read_bytes()
    words = [line.split(" ") for line in lzma.decompress(packed).decode().splitlines()]
    assert len(words) >= 5_000
    agreed = sum(list(FRONT_END.lexicon.rules.pronounce(word)) == phones for word, *phones in words)
    assert agreed / len(words) >= 0.99


def test_what_the_rules_have_said_is_remembered_but_nothing_of_any_length() -> None:
    lexicon = FrontEnd.load().lexicon
    known = getattr(lexicon.ruled, "cache_info")  # noqa: B009
    before = known().currsize
    for _ in range(2):
        assert lexicon.pronounce("blorvenate") == lexicon.rules.pronounce("blorvenate")
        assert lexicon.pronounce("blorvenate" * 9) == lexicon.rules.pronounce("blorvenate" * 9)
    assert known().currsize == before + 1
    assert known().maxsize is not None


def _teacher_ids(line: str) -> list[int]:
    found, word_start = [], False
    for part in line.split():
        if part == "|":
            word_start = True
            continue
        symbol, stress = part[:-1], part[-1]
        found.append(phone_id(symbol, stressed=stress == "1" and symbol in VOWELS, word_start=word_start))
        word_start = False
    return found


def test_sentences_agree_with_the_teacher() -> None:
    sentences = (HERE / "sentences.txt").read_text().splitlines()
    taught = (HERE / "sentence_phones.txt").read_text().splitlines()
    assert len(sentences) == len(taught) >= 200
    matching = total = 0
    for sentence, line in zip(sentences, taught, strict=True):
        expected, found = _teacher_ids(line), [phone.id for phone in FRONT_END.phones(sentence)]
        blocks = difflib.SequenceMatcher(None, expected, found, autojunk=False).get_matching_blocks()
        matching += sum(block.size for block in blocks)
        total += max(len(expected), len(found))
    assert matching / total >= 0.995


def test_phone_ids_fill_their_range() -> None:
    every = {
        phone_id(symbol, stressed=stressed, word_start=start)
        for symbol in PHONES
        for stressed in (False, True)
        for start in (False, True)
    }
    assert every == set(range(1, NUM_PHONE_IDS))


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("the apple", "dh iy ae p ax l"),
        ("the dog", "dh ax d ao g"),
        ("the hour", "dh iy aw er"),
        ("the unit", "dh ax y uw n ax t"),
        ("the, apple", "dh ax pau ae p ax l"),
        ("cats's", "k ae t s ax z"),
        ("cat's", "k ae t s"),
        ("dog's", "d ao g z"),
        ("judge's", "jh ah jh ax z"),
        ("it'll", "ih t ax l"),
        ("we'll", "w iy l"),
        ("should've", "sh uh d ax v"),
        ("to record", "t ax r ax k ao r d"),
        ("the record", "dh ax r eh k er d"),
        ("to read", "t ax r iy d"),
        ("they read", "dh ey r eh d"),
        ("FBI's", "eh f b iy ay z"),
    ],
)
def test_running_speech(text: str, phones: str) -> None:
    assert [phone.symbol for phone in FRONT_END.phones(text)][1:-1] == phones.split()
