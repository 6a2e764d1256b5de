"""Text as it comes to phones, the same ones however it is cut.

Characters become tokens, tokens spoken words and pauses, words phones; each step goes left to right and waits only for
what it looks at. So whole text, single words and single characters give the same phones by construction, and so does a
reader that takes a few words at a time (`feed`, `close`, `more`). A stream and its front end are owned by one thread.
"""

from __future__ import annotations

from engines.text.errors import StreamEnded, UnspeakableText
from engines.text.lexicon import Lexicon
from engines.text.markup import FOR_THE_EAR, TextSettings
from engines.text.phones import Phone
from engines.text.phrases import Phrases, Shelf
from engines.text.pronouncing import Pronouncer
from engines.text.pronunciation import PronunciationDictionary
from engines.text.word_stream import WordStream

_SHOWN_CHARS = 40  # of a refused text
_WORDS_AT_ONCE = 1_000  # where nothing else waits
MAX_PHONES = 150  # one word may have some hundred
MAX_READ_CHARS = 200  # one token or respelling more may be begun


class FrontEnd:
    """Normaliser, lexicon and letter rules, loaded once, and the dictionaries asked for lately."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._shelf = Shelf()

    @classmethod
    def load(cls) -> FrontEnd:
        return cls(Lexicon.load())

    def open(
        self,
        dictionaries: tuple[PronunciationDictionary, ...] = (),
        max_expanded: int | None = None,
        settings: TextSettings = FOR_THE_EAR,
    ) -> TextStream:
        """A text of its own. The first of the dictionaries that has a word decides how it is spoken.

        `max_expanded`: characters spoken for their entries, all together.
        """
        return TextStream(self.lexicon, tuple(map(self._shelf.get, dictionaries)), max_expanded, settings)

    def phones(self, text: str, dictionaries: tuple[PronunciationDictionary, ...] = ()) -> list[Phone]:
        """A whole text. Raises UnspeakableText when nothing in it can be spoken."""
        stream = self.open(dictionaries)
        found = stream.append(text) + stream.end()
        if not stream.spoken_any:
            shown = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
            raise UnspeakableText(f"nothing in {shown!r} can be spoken: {stream.refusal}")
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


def told_scripts(counts: dict[str, int]) -> str:
    """ "3 characters of the Han script, 1 character of the Thai script" """
    return ", ".join(
        f"{count} character{'s' if count > 1 else ''} of the {script} script" for script, count in counts.items()
    )


class TextStream:
    def __init__(
        self,
        lexicon: Lexicon,
        dictionaries: tuple[Phrases, ...] = (),
        max_expanded: int | None = None,
        settings: TextSettings = FOR_THE_EAR,
    ) -> None:
        self._dictionaries = dictionaries
        self._words = WordStream(dictionaries, max_expanded, settings)
        self._pronouncer = Pronouncer(lexicon)
        self._closing = False
        self._ended = False
        self.busy = False  # there may be more to read of what has come

    @property
    def words(self) -> list[str]:
        """Spoken so far; for tests and for the teacher."""
        return self._words.words

    @property
    def script(self) -> list[str]:
        """The same, with a mark where a pause follows."""
        return self._words.script

    @property
    def spoken_any(self) -> bool:
        return self._pronouncer.spoken_any

    @property
    def unspeakable(self) -> tuple[str, ...]:
        """Letters and digits that were left out because no reading for their script exists."""
        return self._words.lost

    @property
    def lost_scripts(self) -> dict[str, int]:
        """How many letters and digits of which script were left out."""
        return self._words.lost_scripts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, or not done as asked."""
        lost = [f"left out: {told_scripts(self.lost_scripts)}"] if self.lost_scripts else []
        unheld_s = self._pronouncer.unheld_s
        unheld = [f"breaks of {unheld_s:g} s before the first word have no effect"] if unheld_s else []
        return (*lost, *unheld, *self._words.warnings)

    @property
    def refusal(self) -> str:
        """Why a text of which nothing was spoken cannot be."""
        if not self.lost_scripts:
            return "it needs at least one letter or digit"
        return f"there is no reading for {told_scripts(self.lost_scripts)}; it needs at least one letter or digit"

    # -- at once ---------------------------------------------------------------------------------------------------

    def append(self, text: str) -> list[Phone]:
        """More text; returns the phones that are final now."""
        self.feed(text)
        return self._all()

    def flush(self) -> list[Phone]:
        """Speaks what is there as if the text ended here. Text may follow; it starts afresh after the closing pause."""
        self.close()
        return self._all()

    def end(self) -> list[Phone]:
        if self._ended:
            return []
        self._ended = True
        return self.flush()

    def _all(self) -> list[Phone]:
        phones: list[Phone] = []
        while self.busy:
            phones += self.more(_WORDS_AT_ONCE)
        return phones

    # -- in pieces -------------------------------------------------------------------------------------------------

    @property
    def prepared(self) -> bool:
        """Whether the dictionaries are there; otherwise `prepare` is to be called again before anything is read."""
        return all(one.ready for one in self._dictionaries)

    def prepare(self) -> None:
        """Unpacks a part of a dictionary."""
        for one in self._dictionaries:
            if not one.ready:
                one.read_on()
                return

    def feed(self, text: str) -> None:
        """More text, for `more` to read."""
        if self._ended:
            raise StreamEnded(f"text was appended after the end of the utterance: {text[:_SHOWN_CHARS]!r}")
        while not self.prepared:
            self.prepare()
        self._words.feed(text)
        self.busy = True

    def close(self) -> None:
        """Speaks what is there as if the text ended here, by and by; see `flush`."""
        self._words.close()
        self._closing = self.busy = True

    def more(self, max_words: int) -> list[Phone]:
        """The next phones that are final: of at most so many words, and of no more once they are MAX_PHONES or
        MAX_READ_CHARS have been read for them."""
        phones: list[Phone] = []
        enough_chars = self._words.read_chars + MAX_READ_CHARS
        while max_words and len(phones) < MAX_PHONES and self._words.read_chars < enough_chars:
            word = self._words.next_made()
            if word is not None:
                self._pronouncer.add(word)
                phones += self._pronouncer.drain()
                max_words -= 1
            elif not self._words.read_on():
                self.busy = False
                break
        if self._closing and not self.busy:
            phones += self._pronouncer.close(self._words.position)
            self._words.start_afresh()
            self._closing = False
        return phones
