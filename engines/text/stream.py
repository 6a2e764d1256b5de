"""Text as it comes to phones, the same ones however it is cut.

Characters become tokens, tokens spoken words and pauses, words phones; each step goes left to right and waits only for
what it looks at. So whole text, single words and single characters give the same phones by construction. A stream is
owned by one thread; the front end is shared and never changes.
"""

from __future__ import annotations

from collections import deque

from engines.text.context import Around, Left, NotYet
from engines.text.cutting import Cutter, Paragraph
from engines.text.errors import StreamEnded, UnspeakableText
from engines.text.lexicon import Lexicon
from engines.text.overriding import Override
from engines.text.phone_alphabets import Word
from engines.text.phones import PauseType, Phone
from engines.text.pronouncing import CLITICS, Break, Pronouncer, SpokenWord, split_clitic
from engines.text.pronunciation import PronunciationDictionary
from engines.text.reading import Reading, Token, read

_SHOWN_CHARS = 40  # of a refused text
_MARKS = {PauseType.PLAIN: ",", PauseType.PERIOD: ".", PauseType.QUESTION: "?", PauseType.EXCLAIM: "!"}


class FrontEnd:
    """Normaliser, lexicon and letter rules, loaded once."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    @classmethod
    def load(cls) -> FrontEnd:
        return cls(Lexicon.load())

    def open(self, dictionaries: tuple[PronunciationDictionary, ...] = ()) -> TextStream:
        """A text of its own. The first of the dictionaries that has a word decides how it is said."""
        return TextStream(self.lexicon, dictionaries)

    def phones(self, text: str, dictionaries: tuple[PronunciationDictionary, ...] = ()) -> list[Phone]:
        """A whole text. Raises UnspeakableText when nothing in it can be spoken."""
        stream = self.open(dictionaries)
        found = stream.append(text) + stream.end()
        if not stream.spoken_any:
            shown = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
            raise UnspeakableText(f"nothing in {shown!r} can be spoken: it needs at least one letter or digit")
        return found

    def normalise(self, text: str) -> str:
        """The spoken words of a text, pauses left out."""
        stream = self.open()
        stream.append(text)
        stream.end()
        return " ".join(word.replace("_", "") for word in stream.words)

    def script(self, text: str) -> str:
        """The spoken words with a mark at each pause: what to give another voice that should say the same.

        The letter a is written "ay": most voices read "A" as the article.
        """
        stream = self.open()
        stream.append(text)
        stream.end()
        return " ".join("ay" if word == "_a" else word.replace("_", "") for word in stream.script)


class TextStream:
    def __init__(self, lexicon: Lexicon, dictionaries: tuple[PronunciationDictionary, ...] = ()) -> None:
        self._lexicon = lexicon
        self._dictionaries = dictionaries
        self._cutter = Cutter(frozenset(word for one in dictionaries for word in one.foreign))
        self._tokens: deque[Token | Paragraph] = deque()
        self._left = Left()
        self._pronouncer = Pronouncer(lexicon)
        self._spoken_tokens = 0
        self._closing = False
        self._ended = False
        self.words: list[str] = []  # spoken so far; for tests and for the teacher
        self.script: list[str] = []  # the same, with a mark where a pause follows

    @property
    def spoken_any(self) -> bool:
        return self._pronouncer.spoken_any

    @property
    def unspeakable(self) -> tuple[str, ...]:
        """Letters and digits that were left out because no reading for their script exists."""
        return tuple(self._cutter.lost)

    def append(self, text: str) -> list[Phone]:
        """More text; returns the phones that are final now."""
        if self._ended:
            raise StreamEnded(f"text was appended after the end of the utterance: {text[:_SHOWN_CHARS]!r}")
        self._tokens.extend(self._cutter.feed(text))
        self._read_tokens()
        return self._pronouncer.drain()

    def flush(self) -> list[Phone]:
        """Speaks what is there as if the text ended here. Text may follow; it starts afresh after the closing pause."""
        self._tokens.extend(self._cutter.complete())
        self._closing = True
        self._read_tokens()
        self._closing = False
        self._left = Left()
        return self._pronouncer.close(self._cutter.position)

    def end(self) -> list[Phone]:
        if self._ended:
            return []
        phones = self.flush()
        self._ended = True
        return phones

    def _read_tokens(self) -> None:
        while self._tokens:
            token = self._tokens[0]
            if isinstance(token, Paragraph):
                self._pronouncer.add(Break(kind=token.kind, at=token.at))
                self._mark_script(token.kind)
                self._left = Left()
                self._tokens.popleft()
                continue
            try:
                reading = read(token, Around(left=self._left, peek=self._peek, dictionaries=self._dictionaries))
            except NotYet:
                return
            self._take(token, reading)

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
        self._tokens.popleft()
        end = token.end
        for _ in range(reading.taken):
            taken = self._tokens.popleft()
            assert isinstance(taken, Token)
            end = taken.end
        self._left = reading.left
        said = False
        for position, piece in enumerate(reading.pieces, 1):
            if isinstance(piece, PauseType):
                at = end if position == len(reading.pieces) else token.start  # phones' starts never go back
                self._pronouncer.add(Break(kind=piece, at=at))
                self._mark_script(piece)
                continue
            for text, sounds in self._spoken(piece):
                for part in [text] if sounds or text in CLITICS else split_clitic(text):
                    word = SpokenWord(
                        text=part, word_index=self._spoken_tokens, start=token.start, end=end, sounds=sounds
                    )
                    self._pronouncer.add(word)
                self.words.append(text)
                self.script.append(text)
            said = True
        self._spoken_tokens += said

    def _spoken(self, piece: str | Override) -> list[tuple[str, Word]]:
        """Words, and how to say them where the caller wants it so."""
        if isinstance(piece, str):
            return [(piece, ())]
        entry = piece.entry
        clitic: list[tuple[str, Word]] = [(piece.clitic, ())] if piece.clitic else []
        if entry.phones is not None:
            return [("-".join(entry.words).lower(), sounds) for sounds in entry.phones] + clitic
        spoken = TextStream(self._lexicon)
        spoken.append(entry.say or "")
        spoken.end()
        return [(word, ()) for word in spoken.words] + clitic

    def _mark_script(self, kind: PauseType) -> None:
        if self.script and self.script[-1][-1] not in _MARKS.values():
            self.script[-1] = self.script[-1].replace("_a", "ay") + _MARKS[kind]
