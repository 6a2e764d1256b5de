"""Characters as they come to spoken words and pauses, the same ones however the text is cut.

What an entry of a dictionary puts into the text is counted: a few words of it may stand for thousands. It is read a
piece at a time, and its reader decides how much is done at once. Owned by one stream.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from engines.text.broken_words import is_broken, joined
from engines.text.context import CLOSING, MAX_TOKEN_CHARS, OPENING, STOPS, Around, Left, NotYet
from engines.text.cutting import Cutter, Paragraph
from engines.text.errors import ExpansionTooLong
from engines.text.inches import quotes
from engines.text.markup import FOR_THE_EAR, TextSettings
from engines.text.overriding import Override
from engines.text.phone_alphabets import Word
from engines.text.phones import PauseType
from engines.text.phrases import Phrases
from engines.text.pieces import Piece, Reading, Token
from engines.text.pronouncing import CLITICS, Break, SpokenWord, split_clitic
from engines.text.pronunciation import Entry, PronunciationDictionary
from engines.text.reading import read

_WORD = re.compile(r"\w+")
_MARKS = {PauseType.PLAIN: ",", PauseType.PERIOD: ".", PauseType.QUESTION: "?", PauseType.EXCLAIM: "!"}
_RECENT_TOKENS = 5
_AROUND = OPENING + CLOSING + STOPS


class WordStream:
    def __init__(
        self,
        dictionaries: tuple[Phrases, ...] = (),
        max_expanded: int | None = None,
        settings: TextSettings = FOR_THE_EAR,
    ) -> None:
        """`max_expanded`: characters spoken for entries of dictionaries, all together; None sets no limit."""
        self._dictionaries = dictionaries
        self._max_expanded, self._expanded = max_expanded, 0
        self._cutter = Cutter(_Foreign(dictionaries), settings)
        self._tokens: deque[Token | Paragraph] = deque()
        self._seen = -1  # tokens that were there when more were last wanted
        self._pieces: deque[tuple[Piece, int, int, bool, float]] = deque()  # of the token read last; see `_make`
        self._made: deque[SpokenWord | Break] = deque()
        self._left = Left()
        self._quoted = False  # inside a quotation, which ends with its paragraph
        self._recent: deque[str] = deque(maxlen=_RECENT_TOKENS)  # of the sentence
        self._spoken_tokens = 0
        self._closing = False
        self.read_chars = 0  # of tokens and respellings, each time one is looked at: what it has cost
        self.words: list[str] = []  # spoken so far; for tests and for the teacher
        self.script: list[str] = []  # the same, with a mark where a pause follows

    @property
    def position(self) -> int:
        """Characters seen."""
        return self._cutter.position

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(self._cutter.lost)

    @property
    def lost_scripts(self) -> dict[str, int]:
        return self._cutter.lost_scripts

    @property
    def warnings(self) -> list[str]:
        return self._cutter.warnings

    def feed(self, text: str) -> None:
        self._tokens.extend(self._cutter.feed(text))

    def close(self) -> None:
        """The text ends here, or is to be read as if it did."""
        self._tokens.extend(self._cutter.complete())
        self._closing = True

    def start_afresh(self) -> None:
        """After the last word of a closed text."""
        self._closing, self._left = False, Left()

    def next_made(self) -> SpokenWord | Break | None:
        """The next word or pause that has been made and no later text can change."""
        return self._made.popleft() if self._made else None

    def read_on(self) -> bool:
        """Reads a token, or makes the words of a piece of one. False when there is none to read now."""
        if self._pieces:
            self._make(*self._pieces.popleft())
            return True
        return self._read_token()

    def _read_token(self) -> bool:
        """Whether it did; a token that waits for what follows is looked at again when there is more."""
        if not self._tokens or (len(self._tokens) == self._seen and not self._closing):
            return False
        token = self._tokens[0]
        if isinstance(token, Paragraph):
            self._tokens.popleft()
            self._made.append(Break(kind=token.kind, at=token.at, hold_s=token.hold_s))
            self._mark_script(token.kind)
            self._left, self._quoted = Left(), False
            return True
        self.read_chars += len(token.text)
        try:
            if token.text[-1:] == "-":
                token = self._mended(token)
            reading = read(token, self._around())
        except NotYet:
            self._seen = len(self._tokens)
            return False
        self._seen = -1
        self._take(token, reading)
        return True

    def _mended(self, token: Token) -> Token:
        """A word broken over two lines, put together."""
        following = self._peek(1) if is_broken(token.text) else None
        after = self._tokens[1] if following is not None else None
        whole = joined(token.text, following or "") if isinstance(after, Token) and after.opens_line else None
        if whole is None or after is None or isinstance(after, Paragraph):
            return token
        self._tokens.popleft()
        self._tokens[0] = mended = replace(after, text=whole, start=token.start, opens_line=token.opens_line)
        return mended

    def _around(self) -> Around:
        recent = () if self._left.starts_sentence else tuple(self._recent)
        return Around(
            left=self._left, peek=self._peek, dictionaries=self._dictionaries, recent=recent, quoted=self._quoted
        )

    def _peek(self, count: int) -> str | None:
        for position in range(1, count + 1):
            if position >= len(self._tokens):
                if self._closing:
                    return None
                raise NotYet
            if isinstance(self._tokens[position], Paragraph):
                return None
        token = self._tokens[count]
        assert isinstance(token, Token)
        return token.text

    def _take(self, token: Token, reading: Reading) -> None:
        if self._left.starts_sentence:
            self._recent.clear()
        end = token.end
        for _ in range(reading.taken + 1):
            taken = self._tokens.popleft()
            assert isinstance(taken, Token)
            end = taken.end
            if '"' in taken.text:
                self._quoted ^= quotes(taken.text, quoted=self._quoted)
            self._recent.append(taken.text.strip(_AROUND) or taken.text)
        self._left = reading.left
        last_word = max((at for at, one in enumerate(reading.pieces) if not isinstance(one, PauseType)), default=-1)
        for at, piece in enumerate(reading.pieces):
            # Phones' starts never go back: only a pause behind the token's last word is at its end.
            start = end if isinstance(piece, PauseType) and at == len(reading.pieces) - 1 else token.start
            self._pieces.append((piece, start, end, at == last_word, token.spoken_as.rate))

    def _make(self, piece: Piece, start: int, end: int, is_last: bool, rate: float) -> None:
        """Puts a piece of a token behind what is made; `is_last` of its words."""
        if isinstance(piece, PauseType):
            self._made.append(Break(kind=piece, at=start))
            self._mark_script(piece)
            return
        for text, sounds in self._spoken(piece):
            for part in [text] if sounds or text in CLITICS else split_clitic(text):
                word = SpokenWord(
                    text=part, word_index=self._spoken_tokens, start=start, end=end, sounds=sounds, rate=rate
                )
                self._made.append(word)
            self.words.append(text)
            self.script.append(text)
        self._spoken_tokens += is_last

    def _spoken(self, piece: str | Override) -> list[tuple[str, Word]]:
        """Words, and how to say them where the caller wants it so."""
        if isinstance(piece, str):
            return [(piece, ())]
        entry = piece.entry
        clitic: list[tuple[str, Word]] = [(piece.clitic, ())] if piece.clitic else []
        if entry.phones is not None:
            self._count(entry, sum(map(len, entry.phones)))
            return [("-".join(entry.words).lower(), sounds) for sounds in entry.phones] + clitic
        self.read_chars += len(entry.say or "")
        words = spoken_words(entry.say or "")
        self._count(entry, sum(len(word) + 1 for word in words))
        return [(word, ()) for word in words] + clitic

    def _count(self, entry: Entry, spoken: int) -> None:
        """Raises ExpansionTooLong."""
        self._expanded += spoken
        if self._max_expanded is not None and self._expanded > self._max_expanded:
            raise ExpansionTooLong(
                f"the dictionary's entry {entry.written!r} is spoken with {spoken} characters each time; with it, what "
                f"entries put into this text has {self._expanded}, the limit is {self._max_expanded}"
            )

    def _mark_script(self, kind: PauseType) -> None:
        if self.script and self.script[-1][-1] not in _MARKS.values():
            self.script[-1] = self.script[-1].replace("_a", "ay") + _MARKS[kind]


class _Foreign:
    """Words of other scripts that an entry can say, in small letters; asked when the dictionaries are all there."""

    def __init__(self, dictionaries: tuple[Phrases, ...]) -> None:
        self._dictionaries = dictionaries

    def __contains__(self, word: object) -> bool:
        return any(word in one.foreign for one in self._dictionaries)


def check_expansion(dictionaries: Iterable[PronunciationDictionary], text: str, max_expanded: int) -> None:
    """Raises ExpansionTooLong where entries would put more than that into a text that is there whole."""
    dictionaries = tuple(dictionaries)
    if len(_WORD.findall(text)) * max((one.longest for one in dictionaries), default=0) <= max_expanded:
        return
    found = tuple(map(Phrases, dictionaries))
    for phrases in found:
        while not phrases.ready:
            phrases.read_on()
            time.sleep(0)  # lets other threads run
    stream = WordStream(found, max_expanded)
    for first in range(0, len(text), MAX_TOKEN_CHARS):
        stream.feed(text[first : first + MAX_TOKEN_CHARS])
        while stream.read_on():
            time.sleep(0)
    stream.close()
    while stream.read_on():
        pass


@lru_cache(maxsize=256)  # a dictionary's entry is read once, however often its word comes: 57 us a number in it
def spoken_words(text: str) -> tuple[str, ...]:
    """The spoken words of a text that is there whole."""
    stream = WordStream()
    stream.feed(text)
    stream.close()
    while stream.read_on():
        pass
    return tuple(stream.words)
