"""Words are spoken as the caller's dictionaries ask, however the text is cut, and still point into that text."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import BadParameter, TextTooLong
from engines.text import BadPronunciation, FrontEnd, PronunciationStore, parse_dictionary
from engines.text.phone_alphabets import words_from_arpabet, words_from_ipa, words_from_ours
from engines.text.phrases import Phrases

FRONT_END = FrontEnd.load()
ENTRIES: list[dict[str, str | bool]] = [
    {"word": "Nguyen", "say": "win"},
    {"word": "SQL", "say": "sequel", "case_sensitive": True},
    {"word": "New York", "say": "the big apple"},
    {"word": "New York City", "phones": "n uw1 | y ao1 r k | s ih1 t iy0"},
    {"word": "nginx", "arpabet": "EH1 N JH IH0 N EH1 K S"},
    {"word": "Xiaomi", "ipa": "/ʃaʊˈmiː/"},
    {"word": "東京", "say": "toe kyo"},
    {"word": "Gov.", "say": "guv"},
    {"word": "C++", "say": "see double plus"},
    {"word": "Zoë", "say": "zo ee"},
    {"word": ".NET", "say": "dot net"},
    {"word": "Y'all'd", "arpabet": "Y AO1 D"},
    {"word": "apple", "ipa": "ˈeɪpl̩"},
]
DICTIONARY = parse_dictionary({"entries": ENTRIES}, "test")


def _phones_of(text: str) -> str:
    stream = FRONT_END.open((DICTIONARY,))
    stream.append(text)
    stream.end()
    return " ".join(stream.script)


def _symbols(text: str) -> str:
    return " ".join(phone.symbol for phone in FRONT_END.phones(text, (DICTIONARY,)))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Dr. Nguyen left.", "doctor win left."),
        ("NGUYEN, nguyen!", "win, win!"),
        ("Nguyen's dog", "win's dog"),
        ("(**Nguyen**) and [Nguyen](http://x.com)", "win, and win"),
        ("SQL and sql", "sequel and s q l"),
        ("New York. In New York, City", "the big apple. in the big apple, city"),
        ("New, York", "new, york"),
        ("New\n\nYork", "new. york"),
        ("in 東京, 大阪 now", "in toe kyo, now"),
        ("Gov. Smith", "guv smith"),
        ("the gov smiled", "the gov smiled"),
        ("C++ or C", "see double plus or c"),
        ("Zoe and ZOË", "zo ee and zo ee"),
        (".NET core", "dot net core"),
        ("Nguyen-SQL/Zoe's", "win sequel slash zo ee's"),
        ("Nguyens", "nguyens"),
    ],
)
def test_words_are_replaced(text: str, spoken: str) -> None:
    assert _phones_of(text).replace(" 's", "'s") == spoken


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("nginx", "pau eh n jh ih n eh k s pau"),
        ("Xiaomi", "pau sh aw m iy pau"),
        ("the apple", "pau dh iy ey p ax l pau"),  # "the" hears the caller's vowel
        ("Nguyen's", "pau w ih n z pau"),
        ("y'all'd", "pau y ao d pau"),
        ("New York City", "pau n uw y ao r k s ih t iy pau"),
    ],
)
def test_phones_are_as_asked(text: str, phones: str) -> None:
    assert _symbols(text) == phones


def test_times_point_into_the_callers_text() -> None:
    text = "I like New York City, Nguyen's 東京."
    spans = {}
    for phone in FRONT_END.phones(text, (DICTIONARY,)):
        if phone.word_index is not None:
            spans[phone.word_index] = text[phone.start : phone.end]
    assert list(spans.values()) == ["I", "like", "New York City,", "Nguyen's", "東京."]


@settings(deadline=None, max_examples=200)
@given(
    words=st.lists(
        st.sampled_from([str(entry["word"]) for entry in ENTRIES] + "New York, the Dr. apple's \n\n a-Zoë".split(" ")),
        max_size=10,
    ),
    data=st.data(),
)
def test_cuts_change_nothing(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    whole = FRONT_END.open((DICTIONARY,))
    expected = whole.append(text) + whole.end()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    for parts in ([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)], list(text)):
        stream = FRONT_END.open((DICTIONARY,))
        assert [phone for part in parts for phone in stream.append(part)] + stream.end() == expected


@settings(deadline=None, max_examples=100)
@given(
    words=st.lists(st.sampled_from([str(entry["word"]) for entry in ENTRIES] + "the 12,345 a-Zoë \n\n".split(" "))),
    chars=st.integers(1, 9),
    max_words=st.integers(1, 5),
)
def test_slices_change_nothing(words: list[str], chars: int, max_words: int) -> None:
    """What is fed, and how many words are taken at a time."""
    text = " ".join(words)
    whole, stream = FRONT_END.open((DICTIONARY,)), FRONT_END.open((DICTIONARY,))
    expected = whole.append(text) + whole.end()
    found = []
    for first in range(0, len(text) + chars, chars):
        if first < len(text):
            stream.feed(text[first : first + chars])
        else:
            stream.close()
        while stream.busy:
            found += stream.more(max_words)
    assert found == expected


PHRASES = st.lists(st.sampled_from(["a", "A", "b", "B", "c"]), min_size=1, max_size=4)


@settings(deadline=None, max_examples=300)
@given(
    listed=st.lists(st.tuples(PHRASES, st.booleans(), st.booleans()), min_size=1, max_size=12),
    text=st.lists(st.tuples(st.sampled_from("aAbBc"), st.sampled_from(["", "", "", ".", ","])), min_size=1, max_size=6),
)
def test_the_longest_entry_is_found_in_one_walk(
    listed: list[tuple[list[str], bool, bool]], text: list[tuple[str, str]]
) -> None:
    """Against the rule in words: longest, then with a full stop, then heeding case, then as listed."""

    def fits(phrase: list[str], stopped: bool, heeds_case: bool) -> bool:
        under = text[: len(phrase)]
        if len(under) < len(phrase) or any(mark for _, mark in under[:-1]):
            return False
        same = all(
            ours == theirs or (not heeds_case and ours.lower() == theirs.lower())
            for ours, (theirs, _) in zip(phrase, under, strict=True)
        )
        return same and (not stopped or under[-1][1] == ".")

    entries = [
        {"word": " ".join(phrase) + "." * stopped, "say": f"b{number}", "case_sensitive": heeds_case}
        for number, (phrase, stopped, heeds_case) in enumerate(listed)
    ]
    ranked = sorted(enumerate(listed), key=lambda one: (-len(one[1][0]), not one[1][1], not one[1][2], one[0]))
    wanted = next((number for number, one in ranked if fits(*one)), None)
    phrases = Phrases(parse_dictionary({"entries": entries}, "test"))
    while not phrases.ready:
        phrases.read_on()
    found = phrases.match(*text[0], lambda count: ("", *text[count]) if count < len(text) else None)
    assert (None if found is None else found[0].say) == (None if wanted is None else f"b{wanted}")
    assert found is None or wanted is None or found[1] == len(listed[wanted][0]) - 1


def test_what_entries_put_into_a_text_is_counted() -> None:
    entries = [{"word": "x", "say": "7 " * 100}, {"word": "y", "phones": "ay1"}]
    dictionary = parse_dictionary({"entries": entries}, "test")
    stream = FRONT_END.open((dictionary,), max_expanded=1_300)
    stream.append("x and y and x y ")  # a hundred times "seven " is 600 characters
    with pytest.raises(TextTooLong, match=r"entry 'x' is spoken with 600 .* has 1802, the limit is 1300"):
        stream.append("x ")


def test_only_the_begin_of_a_phrase_waits() -> None:
    stream = FRONT_END.open((DICTIONARY,))
    assert stream.append("Nguyen ") != []
    assert stream.append("New ") == []
    assert stream.append("cars ") != []


def test_the_first_dictionary_decides() -> None:
    first = parse_dictionary({"entries": [{"word": "nguyen", "say": "noo yen"}]}, "first")
    found = FRONT_END.phones("Nguyen", (first, DICTIONARY))
    assert [phone.symbol for phone in found] == [phone.symbol for phone in FRONT_END.phones("noo yen")]


def test_a_dictionary_crosses_process_borders() -> None:
    again = pickle.loads(pickle.dumps(DICTIONARY))
    assert again == DICTIONARY
    assert len(again.entries) == again.num_entries == len(ENTRIES)
    assert FRONT_END.phones("Nguyen", (again,)) == FRONT_END.phones("Nguyen", (DICTIONARY,))


def test_elevenlabs_rules_are_read() -> None:
    rules = [
        {"string_to_replace": "Nguyen", "type": "alias", "alias": "win"},
        {"string_to_replace": "nginx", "type": "phoneme", "phoneme": "ˈɛndʒɪnɛks", "alphabet": "ipa"},
        {"string_to_replace": "tomato", "type": "phoneme", "phoneme": "T AH0 M AA1 T OW2", "alphabet": "cmu-arpabet"},
    ]
    found = parse_dictionary({"rules": rules}, "theirs")
    symbols = [phone.symbol for phone in FRONT_END.phones("Nguyen nguyen tomato", (found,))]
    assert symbols[1:4] == ["w", "ih", "n"]
    assert symbols[4:7] != ["w", "ih", "n"]  # their rules heed case
    assert symbols[-7:-1] == "t ax m aa t ow".split()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"word": "x"}, "exactly one of say, phones, arpabet and ipa; got none"),
        ({"word": "x", "say": "y", "ipa": "p"}, "got say and ipa"),
        ("x", "must be an object such as"),
        ({"word": "x", "ipa": "ǃa"}, r"U\+01C3.*nearest English"),
        ({"word": "x", "phones": "p q"}, "'q' is none of the phones.*aa ae"),
        ({"word": "x", "arpabet": "T1 AH0"}, "'T1' is none of the ARPAbet"),
        ({"word": "x", "arpabet": " | "}, "holds no phone"),
        ({"word": "...", "say": "p"}, "needs a letter or digit"),
        ({"word": "Smith, John", "say": "p"}, "no marks between its words"),
        ({"word": " ", "say": "p"}, "as it is written in the text"),
        ({"word": "a b c d e f g h i", "say": "p"}, "9 words, the limit is 8"),
        ({"word": "x", "say": "東"}, "cannot be spoken"),
        ({"word": "x", "say": "y" * 201}, "201 characters, the limit is 200"),
        ({"word": "x", "sayy": "y"}, "unknown field 'sayy'"),
        ({"word": "x", "say": "y", "case_sensitive": "no"}, "true or false"),
    ],
)
def test_bad_entries_are_refused_by_number(entry: object, reason: str) -> None:
    with pytest.raises(BadPronunciation, match=f"'mine', entry 2 .*{reason}"):
        parse_dictionary({"entries": [{"word": "good", "say": "gud"}, entry]}, "mine")
    assert issubclass(BadPronunciation, BadParameter)


@pytest.mark.parametrize("data", [{}, {"entries": {}}, {"words": []}])
def test_a_dictionary_is_a_list_of_entries(data: dict[str, object]) -> None:
    with pytest.raises(BadPronunciation, match='list "entries"'):
        parse_dictionary(data, "mine")


def test_alphabets_agree() -> None:
    ours = words_from_ours("b ah1 t er0 | ch ey1 n jh ih0 ng")
    assert words_from_arpabet("B AH1 T ER0 | CH EY1 N JH IH0 NG") == ours
    assert words_from_ipa("ˈbʌtɚ ˈtʃeɪndʒɪŋ") == words_from_ipa("[ˈbʌɾər|ˈt͡ʃeɪnd͡ʒɪŋ]") == ours
    assert words_from_arpabet("AH0 B AW1 T") == words_from_ipa("əˈbaʊt") == (("ax0", "b", "aw1", "t"),)


def test_a_word_without_stress_gets_one() -> None:
    assert words_from_ipa("bənana") == (("b", "ax0", "n", "aa1", "n", "aa0"),)
    assert words_from_ours("dh ax") == (("dh", "ax0"),)


def _write(path: Path, entries: object, at: int) -> None:
    path.write_text(json.dumps({"entries": entries}))
    os.utime(path, (at, at))


def test_store_sees_changes_and_keeps_the_last_good(tmp_path: Path) -> None:
    store, path = PronunciationStore(tmp_path), tmp_path / "names.json"
    with pytest.raises(BadPronunciation, match="no pronunciation dictionary 'names'; there are: none"):
        store.get("names")
    _write(path, [{"word": "a", "say": "b"}], 1)
    first = store.get("names")
    assert store.get("names") is first
    assert store.get("names", first.version) is store.get("names", "latest") is first
    _write(path, [{"word": "a", "say": "c"}], 2)
    second = store.get("names")
    assert second.entries[0].say == "c"
    with pytest.raises(BadPronunciation, match=f"version '{second.version}', not '{first.version}'"):
        store.get("names", first.version)
    _write(path, [{"word": "a"}], 3)
    assert store.get("names") is second
    assert "entry 1 ('a')" in store.problems["names"]
    _write(path, [{"word": "a", "say": "d"}], 4)
    assert store.reload() == {}
    assert store.get("names").entries[0].say == "d"
    path.unlink()
    with pytest.raises(BadPronunciation, match="there are: none"):
        store.get("names")


def test_store_names_are_no_paths(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    _write(tmp_path / "secret.json", [{"word": "a", "say": "b"}], 1)
    _write(folder / "one.json", [{"word": "a", "say": "b"}], 1)
    store = PronunciationStore(folder)
    assert store.names() == ["one"]
    for name in ("../secret", "", "one.json", "a/b", "x" * 65):
        with pytest.raises(BadPronunciation, match="there are: one"):
            store.get(name)


def test_a_broken_file_is_refused_and_reported(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    store = PronunciationStore(tmp_path)
    assert "is no JSON" in store.reload()["bad"]
    with pytest.raises(BadPronunciation, match="is no JSON"):
        store.get("bad")
