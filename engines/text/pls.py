"""Lexicons in W3C's Pronunciation Lexicon Specification 1.0 (.pls), to the entries of a dictionary.

A lexicon is a stranger's XML: a document type, and with it every entity that a document can define, is refused.
Graphemes heed case, as the specification says. Of several pronunciations the preferred one is taken, else the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from engines.text.errors import BadPronunciation

ALPHABETS = {  # as people name them: the field of an entry
    "ipa": "ipa",
    "cmu-arpabet": "arpabet",
    "cmu": "arpabet",
    "arpabet": "arpabet",
    "x-cmu": "arpabet",
    "x-cmu-arpabet": "arpabet",
    "x-arpabet": "arpabet",
}
_MAX_DEPTH = 16
_READ = ("grapheme", "alias", "phoneme")


def alphabet_field(name: str) -> str:
    """Raises BadPronunciation for an alphabet that is not read here."""
    found = ALPHABETS.get(name.strip().lower())
    if found is None:
        raise BadPronunciation(f"alphabet {name!r} is not read here; write 'ipa' or 'cmu-arpabet'")
    return found


def pls_entries(data: bytes) -> list[dict[str, Any]]:
    """The entries of a lexicon, in its order. Raises BadPronunciation."""
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except BadPronunciation:
        raise
    except expat.ExpatError as error:
        raise BadPronunciation(f"the lexicon is no XML: {error}") from error
    except (LookupError, ValueError) as error:  # of the encoding that its first line names
        raise BadPronunciation(f"the lexicon's encoding cannot be read ({error}); write it in UTF-8") from error
    return reader.entries


@dataclass(slots=True)
class _Lexeme:
    graphemes: list[str] = field(default_factory=list)
    spoken: list[tuple[bool, str, str]] = field(default_factory=list)  # (preferred, field of an entry, text)


class _Reader:
    """Expat's callbacks. What they raise comes out of `Parse`."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self._path: list[str] = []
        self._alphabet = "ipa"
        self._lexeme = _Lexeme()
        self._lexemes = 0
        self._attributes: Mapping[str, str] = {}
        self._text: list[str] = []

    def _doctype(self, *_: object) -> None:
        raise BadPronunciation("the lexicon has a document type (<!DOCTYPE ...>); leave it out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if not self._path and local != "lexicon":
            raise BadPronunciation(f"the lexicon's outermost element is <{local}>, it must be <lexicon>")
        if len(self._path) >= _MAX_DEPTH:
            raise BadPronunciation(f"the lexicon's elements lie more than {_MAX_DEPTH} deep")
        self._path.append(local)
        if local == "lexicon":
            self._alphabet = attributes.get("alphabet", self._alphabet)
        elif local == "lexeme":
            self._lexeme = _Lexeme()
            self._lexemes += 1
        self._attributes, self._text = attributes, []

    def _characters(self, text: str) -> None:
        if self._path[-1] in _READ:
            self._text.append(text)

    def _end(self, name: str) -> None:
        local, text = self._path.pop(), " ".join("".join(self._text).split())
        if local == "lexeme":
            self.entries += self._taken()
        elif self._path[-1:] != ["lexeme"]:
            return
        elif local == "grapheme":
            self._lexeme.graphemes.append(text)
        elif local in ("alias", "phoneme"):
            preferred = self._attributes.get("prefer") == "true"
            spoken_as = "say" if local == "alias" else self._named(self._attributes.get("alphabet", self._alphabet))
            self._lexeme.spoken.append((preferred, spoken_as, text))

    def _named(self, alphabet: str) -> str:
        try:
            return alphabet_field(alphabet)
        except BadPronunciation as error:
            raise BadPronunciation(f"{self._place}: {error}") from error

    def _taken(self) -> list[dict[str, Any]]:
        if not self._lexeme.graphemes or not self._lexeme.spoken:
            raise BadPronunciation(f"{self._place} needs a <grapheme>, and a <phoneme> or an <alias>")
        _, spoken_as, text = next((one for one in self._lexeme.spoken if one[0]), self._lexeme.spoken[0])
        return [{"word": word, spoken_as: text, "case_sensitive": True} for word in self._lexeme.graphemes]

    @property
    def _place(self) -> str:
        word = f" ({self._lexeme.graphemes[0]!r})" if self._lexeme.graphemes else ""
        return f"lexeme {self._lexemes}{word}"
