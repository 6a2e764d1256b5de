"""XML-like tags, token by token: reasoning is skipped, SSML is followed as far as it goes, other tags are dropped.

How a token is to be spoken (spelled, by an alias, by phones) is told beside its text. Tags may be many tokens long;
what turns out to be none is read on. All state depends on the tokens seen alone.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from engines.text.errors import BadPronunciation
from engines.text.given_sounds import BEGINNING, Given, given_sounds
from engines.text.phone_alphabets import words_from_arpabet, words_from_ipa
from engines.text.pls import alphabet_field
from engines.text.pronunciation import Entry
from engines.text.ssml import MAX_BREAK_S, MAX_RATE, MIN_RATE, duration_s, hold, rate_of, strength_s
from engines.text.word_lists import word_list

REASONING = frozenset(word_list("think thinking reasoning"))
_PAUSE_S = 0.3  # of a pause without a length
_MAX_TAG_CHARS = 600
_MAX_ALIAS_CHARS = 200
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*(?::[\w-]+)?)((?:\s[^<>]*)?/?)>")
_BEGUN = re.compile(r"<([A-Za-z][\w-]*(?::[\w-]+)?)$")
_FIRST_ATTRIBUTE = re.compile(r"[\w:-]+=|/?>")
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>/]+))")
_PAUSE = re.compile(r"\[pause(?::?(\d{1,6}(?:\.\d{1,6})?(?:ms|s)))?\]", re.IGNORECASE)
_SOUNDS = re.compile(r"(?<![\w`])<<([^<>`]*\|[^<>`]*)>>(?![\w`])")  # Cartesia's, for a word: <<s|ʌ|n>>
_SPELLED = frozenset(word_list("characters spell-out spell digits telephone verbatim"))
_CARDINAL = frozenset(word_list("cardinal number"))  # as numbers are read anyway
_HTML = frozenset(
    word_list(
        "a abbr b blockquote body br button center code dd del details div dl dt em font form h1 h2 h3 h4 h5 h6 head "
        "header hr html i iframe img input ins kbd label li link main meta nav ol option p pre q s script section "
        "select small span strike strong style summary sup svg table tbody td textarea tfoot th thead title tr tt u ul "
        "var video"
    )
)
FOLLOWED = frozenset(word_list("speak break spell say-as sub phoneme prosody p s"))
UNSUPPORTED = frozenset(word_list("emphasis voice audio mark lang express-as effect"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenAs:
    """How the text of a token is to be spoken."""

    spelled: bool = False
    ordinal: bool = False
    entry: Entry | None = None
    rate: float = 1.0


AS_WRITTEN = SpokenAs()


class Tags:
    """Owned by one stream."""

    _blank = "—"  # between tokens that were taken for something else: a token of phones holds no white space

    def __init__(self, *, skips_reasoning: bool, follows: bool = True) -> None:
        self._skips_reasoning, self._follows = skips_reasoning, follows
        self.skipping = ""  # the reasoning element that is open
        self.skipped_chars = 0
        self._tail = ""  # of what is skipped: its end may be cut by a token's
        self.begun = ""  # a tag whose ">" has not come
        self._sounds_begun = ""  # a word with its sounds whose bracket has not come
        self._spelling = 0  # elements open
        self._ordinal = False  # inside <say-as interpret-as="ordinal">
        self._entry: Entry | None = None  # of an element that is open, until it has been spoken
        self._replaced = ""  # the name of that element
        self._rates: list[float] = []  # of the prosody elements that are open
        self.spoken_as = AS_WRITTEN  # the text that `read` returned last
        self.warnings: dict[str, None] = {}

    @property
    def open(self) -> bool:
        inside = self._spelling or self._ordinal or self._replaced or self._rates
        return bool(self.skipping or self.is_cut or inside)

    @property
    def is_cut(self) -> bool:
        """Whether the next token belongs to a tag, or to a word with its sounds."""
        return bool(self.begun or self._sounds_begun)

    @property
    def told(self) -> list[str]:
        """What could not be followed, and what has no end."""
        found = list(self.warnings)
        if self.skipping:
            found.append(f"<{self.skipping}> is not closed: {self.skipped_chars} characters behind it were not spoken")
        for begun in filter(None, (self.begun, self._sounds_begun)):
            found.append(f"a tag {begun[:20]!r} is not closed: it was not spoken")
        return found

    def read(self, text: str, *, glued: bool = False) -> str:
        """What is left of the next token; `glued`: no white space stands before it."""
        self.spoken_as = AS_WRITTEN
        if not self.open and "<" not in text and "[" not in text and BEGINNING not in text:
            return text
        text = _PAUSE.sub(lambda found: self._pause(found[1]), text)
        sounds, kept = None, ""
        if self._follows and not self.skipping and not self.begun and (found := _SOUNDS.search(text)):
            sounds = self._sounds(found[1].replace("|", ""))
            text = text[: found.start()] + ("" if sounds is None else "phoneme") + text[found.end() :]
        if self._sounds_begun or (BEGINNING in text and not self.skipping and not self.begun):
            before, given, behind, self._sounds_begun = given_sounds(self._sounds_begun, text)
            if given is not None:
                sounds = self._given_entry(given)
                before += given.word if sounds is None else "phoneme"
            text = (before + behind).replace(" ", self._blank)
        while text:
            if self.skipping:
                text = self._skip(text)
            elif self.begun:
                piece, text = self._go_on(text, glued=glued)
                kept += piece
            else:
                piece, tag, text = self._until_tag(text)
                kept += self._content(piece)
                if tag is not None:
                    kept += self._handle(tag)
        if sounds is not None:
            self.spoken_as = SpokenAs(entry=sounds, rate=self._rates[-1] if self._rates else 1.0)
        return kept

    def _until_tag(self, text: str) -> tuple[str, re.Match[str] | None, str]:
        """What comes before the next tag, the tag, and what is behind it."""
        start = 0
        while (start := text.find("<", start)) >= 0:
            if text.count("`", 0, start) % 2 == 0:
                found = _TAG.match(text, start)
                if found and self._is_tag(found, text):
                    return text[:start], found, text[found.end() :]
                begun = _BEGUN.match(text, start)
                if begun and (start == 0 or not text[start - 1].isalnum() or begun[1].lower() in _HTML | FOLLOWED):
                    self.begun = begun[0]
                    return text[:start], None, ""
            start += 1
        return text, None, ""

    def _is_tag(self, found: re.Match[str], text: str) -> bool:
        """A name glued behind a word is a type, as in List<int>, unless it is known or closed in the same token."""
        glued = found.start() > 0 and (text[found.start() - 1].isalnum() or text[found.start() - 1] == "_")
        name = found[2].lower()
        known = found[1] or found[3] or name in _HTML or name in FOLLOWED or name in UNSUPPORTED or name in REASONING
        return not glued or bool(known) or f"</{found[2]}>" in text

    def _go_on(self, text: str, *, glued: bool) -> tuple[str, str]:
        """The next token of a tag that is many tokens long: the break that it stands for, and the text behind it."""
        body, closed, rest = text.partition(">")
        if " " not in self.begun and not _FIRST_ATTRIBUTE.match(text):  # "if a <b and c"
            begun, self.begun = self.begun, ""
            return self._none(begun, text, glued=glued), ""
        self.begun += f" {body}"
        if closed:
            whole, self.begun = self.begun + ">", ""
            found = _TAG.fullmatch(whole)
            return self._handle(found) if found else "", rest
        if len(self.begun) > _MAX_TAG_CHARS:
            self._warn(f"a tag {self.begun[:20]!r} was not closed within {_MAX_TAG_CHARS} characters")
            self.begun = ""
        return "", ""

    def _none(self, begun: str, text: str, *, glued: bool) -> str:
        """What was taken for the beginning of a tag, with the token behind it."""
        return f"{begun}{self._blank}{text}"

    def _skip(self, text: str) -> str:
        """What follows the end of the reasoning in this token."""
        end = f"</{self.skipping}>"
        seen = self._tail + text
        at = seen.lower().find(end)
        if at < 0:
            self.skipped_chars += len(text)
            self._tail = seen[-len(end) :]
            return ""
        self.skipping, self._tail = "", ""
        return seen[at + len(end) :]

    def _content(self, text: str) -> str:
        """Text between tags, with what is to be done with it."""
        if not text:
            return ""
        if self._replaced:
            if self._entry is None:
                return ""  # its first word was spoken for all
            rate = self._rates[-1] if self._rates else 1.0
            self.spoken_as, self._entry = SpokenAs(entry=self._entry, rate=rate), None
        elif self._spelling or self._ordinal or self._rates:
            rate = self._rates[-1] if self._rates else 1.0
            self.spoken_as = SpokenAs(spelled=self._spelling > 0, ordinal=self._ordinal, rate=rate)
        return text

    def _handle(self, found: re.Match[str]) -> str:
        """Follows a tag; returns the break that it stands for."""
        closing, name = found[1] == "/", found[2].lower().rpartition(":")[2]
        if name in REASONING and self._skips_reasoning:
            if closing:
                self._warn(f"</{name}> closes nothing: what stands before it was spoken")
            elif not found[3].endswith("/"):
                self.skipping, self.skipped_chars = name, 0
            return ""
        return self._follow(name, found[3], closing=closing)

    def _follow(self, name: str, body: str, *, closing: bool) -> str:
        if not self._follows:
            return ""
        if closing:
            self._close(name)
            return ""
        attributes = {
            one[1].lower(): html.unescape(one[2] or one[3] or one[4] or "") for one in _ATTRIBUTE.finditer(body)
        }
        match name:
            case "break":
                return self._break(attributes)
            case "spell":
                self._spelling += 1
            case "say-as":
                self._say_as(attributes)
            case "sub":
                alias = attributes.get("alias", "")[:_MAX_ALIAS_CHARS]
                if alias:
                    self._entry, self._replaced = Entry(words=("sub",), say=alias), name
            case "phoneme":
                self._phoneme(attributes)
            case "prosody":
                self._prosody(attributes)
            case _ if name in UNSUPPORTED:
                self._warn(f"<{name}> has no effect here")
        return ""

    def _close(self, name: str) -> None:
        if name == "say-as" and self._ordinal:
            self._ordinal = False
        elif name in ("spell", "say-as"):
            self._spelling = max(0, self._spelling - 1)
        elif name == self._replaced:
            self._entry, self._replaced = None, ""
        elif name == "prosody" and self._rates:
            self._rates.pop()

    def _break(self, attributes: dict[str, str]) -> str:
        if "time" in attributes:
            return self._pause(attributes["time"])
        seconds = strength_s(attributes.get("strength", ""))
        if seconds is None:
            self._warn(f'<break strength="{attributes["strength"]}"> is none of SSML\'s; medium was taken')
        return hold(_PAUSE_S if seconds is None else seconds)

    def _pause(self, written: str | None) -> str:
        if not self._follows:
            return ""
        seconds = _PAUSE_S if written is None else duration_s(written)
        if seconds is None:
            self._warn(f'a break of {written!r} has no length such as "300ms" or "1.5s"; {_PAUSE_S:g} s was taken')
        elif seconds > MAX_BREAK_S:
            self._warn(f"a break of {seconds:g} s was cut to {MAX_BREAK_S:g} s")
        return hold(_PAUSE_S if seconds is None else seconds)

    def _prosody(self, attributes: dict[str, str]) -> None:
        outer = self._rates[-1] if self._rates else 1.0
        written = attributes.pop("rate", None)
        rate = outer if written is None else rate_of(written)
        if rate is None:
            self._warn(f'<prosody rate="{written}"> is no rate such as "slow", "80%" or "1.2"')
        elif not MIN_RATE <= rate <= MAX_RATE:
            self._warn(f"a rate of {rate:g} was kept within {MIN_RATE:g} and {MAX_RATE:g}")
        self._rates.append(outer if rate is None else min(max(rate, MIN_RATE), MAX_RATE))
        for name in attributes:
            self._warn(f"<prosody {name}> has no effect here")

    def _say_as(self, attributes: dict[str, str]) -> None:
        kind = attributes.get("interpret-as", "")
        if kind in _SPELLED:
            self._spelling += 1
        elif kind == "ordinal":
            self._ordinal = True
        elif kind not in _CARDINAL:
            self._warn(f'<say-as interpret-as="{kind}"> is read like other text')

    def _phoneme(self, attributes: dict[str, str]) -> None:
        try:
            alphabet = alphabet_field(attributes.get("alphabet", "ipa"))
            sounds = (words_from_ipa if alphabet == "ipa" else words_from_arpabet)(attributes.get("ph", ""))
        except BadPronunciation as error:
            self._warn(f"<phoneme>: {error}")
            return
        self._entry, self._replaced = Entry(words=("phoneme",), phones=sounds), "phoneme"

    def _sounds(self, ipa: str) -> Entry | None:
        """None where they are none, and nothing is spoken for them."""
        try:
            return Entry(words=("phoneme",), phones=words_from_ipa(ipa))
        except BadPronunciation as error:
            self._warn(f"<<{ipa}>>: {error}")
            return None

    def _given_entry(self, given: Given) -> Entry | None:
        """None where the word is read as it is written."""
        if not self._follows:
            return None
        try:
            return Entry(words=("phoneme",), phones=words_from_ipa(given.ipa))
        except BadPronunciation as error:
            self._warn(f"{given.word!r} is read as it is written: {error}")
            return None

    def _warn(self, what: str) -> None:
        if len(self.warnings) < 16:
            self.warnings[what] = None
