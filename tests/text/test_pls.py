"""Lexicons of W3C's format: what is read, what is refused, and that no stranger's XML does harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.text import BadPronunciation, FrontEnd, PronunciationStore
from engines.text.pls import pls_entries

LEXICON = """<?xml version="1.0" encoding="UTF-8"?>
<lexicon version="1.0" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon" alphabet="ipa" xml:lang="en-US">
  <metadata><note>ours</note></metadata>
  <lexeme><grapheme>Nguyen</grapheme><grapheme>Nguyễn</grapheme><alias>win</alias></lexeme>
  <lexeme><grapheme>nginx</grapheme><phoneme>ˈɛndʒɪnɛks</phoneme><example>nginx <b>runs</b></example></lexeme>
  <lexeme><grapheme>tomato</grapheme><phoneme alphabet="cmu-arpabet">T AH0 M AA1 T OW2</phoneme></lexeme>
  <lexeme>
    <grapheme>SQL</grapheme><phoneme>ɛskjuːˈɛl</phoneme><alias prefer="true">sequel</alias>
  </lexeme>
</lexicon>"""


def lexicon(inner: str, head: str = "", attributes: str = "") -> bytes:
    return f"{head}<lexicon {attributes}>{inner}</lexicon>".encode()


def test_graphemes_aliases_phonemes_and_what_is_preferred() -> None:
    assert pls_entries(LEXICON.encode()) == [
        {"word": "Nguyen", "say": "win", "case_sensitive": True},
        {"word": "Nguyễn", "say": "win", "case_sensitive": True},
        {"word": "nginx", "ipa": "ˈɛndʒɪnɛks", "case_sensitive": True},
        {"word": "tomato", "arpabet": "T AH0 M AA1 T OW2", "case_sensitive": True},
        {"word": "SQL", "say": "sequel", "case_sensitive": True},
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings_and_a_lexicons_own_alphabet(encoding: str) -> None:
    inner = (
        "<lexeme><grapheme>Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}</grapheme><phoneme>Z OW1 IY0</phoneme></lexeme>"
    )
    text = f'<?xml version="1.0" encoding="{encoding}"?><lexicon alphabet="x-cmu">{inner}</lexicon>'
    (entry,) = pls_entries(text.encode(encoding))
    assert entry["arpabet"] == "Z OW1 IY0"
    assert entry["word"] == "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}"


BOMB = '<!DOCTYPE lexicon [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
FILE = '<!DOCTYPE lexicon [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'
OUTSIDE = '<!DOCTYPE lexicon SYSTEM "http://127.0.0.1:9/lexicon.dtd">'
SAID = "<lexeme><grapheme>a</grapheme><alias>{}</alias></lexeme>"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lexicon(SAID.format("&c;"), BOMB), "document type"),
        (lexicon(SAID.format("&secret;"), FILE), "document type"),
        (lexicon("", OUTSIDE), "document type"),
        (lexicon(SAID.format("&nbsp;")), "no XML: undefined entity"),
        (b"", "no XML"),
        (b"{}", "no XML"),
        (b"\xff\xfe\x00", "no XML"),
        (b"<html/>", "must be <lexicon>"),
        *(
            (f'<?xml version="1.0" encoding="{name}"?><lexicon/>'.encode(), "encoding.*write it in UTF-8|no XML")
            for name in ("gb2312", "shift_jis", "utf-7", "no-such", "hex", "idna", "undefined", "punycode", "")
        ),
        (lexicon("<a>" * 20 + "</a>" * 20), "more than 16 deep"),
        (lexicon("<lexeme><grapheme>x</grapheme></lexeme>"), r"lexeme 1 \('x'\) needs"),
        (lexicon("<lexeme><alias>x</alias></lexeme>"), "lexeme 1 needs"),
        (
            lexicon("<lexeme><grapheme>x</grapheme><phoneme>eks</phoneme></lexeme>", attributes='alphabet="x-sampa"'),
            r"lexeme 1 \('x'\): alphabet 'x-sampa' is not read here; write 'ipa' or 'cmu-arpabet'",
        ),
    ],
)
def test_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(BadPronunciation, match=says):
        pls_entries(data)


def test_a_store_reads_lexicons_and_keeps_new_ones_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "ours.pls").write_text(LEXICON)
    store = PronunciationStore(tmp_path)
    assert store.names() == ["ours"]
    front_end = FrontEnd.load()
    assert front_end.phones("Ask Nguyen.", (store.get("ours"),)) != front_end.phones("Ask Nguyen.")
    (again := store.add("ours", ".pls", LEXICON.encode()))
    assert (again.name, again.version) == ("ours", store.get("ours").version)
    other = store.add("ours", ".pls", lexicon(SAID.format("one")))
    assert other.name == "ours-2"
    assert store.add("../../Our names!", ".json", b'{"entries": []}').name == "Our-names"
    assert store.names() == ["Our-names", "ours", "ours-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Our-names.json", "ours-2.pls", "ours.pls"]
    with pytest.raises(BadPronunciation, match="dictionary 'new': lexeme 1 needs"):
        store.add("new", ".pls", lexicon("<lexeme/>"))
    assert "new" not in store.names()


def test_a_store_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.text.pronunciation_store.MAX_STORED", 2)
    store = PronunciationStore(tmp_path)
    for number in range(2):
        store.add("a", ".pls", lexicon(SAID.format(f"word {number}")))
    with pytest.raises(BadPronunciation, match="the limit is 2"):
        store.add("b", ".pls", lexicon(SAID.format("more")))
