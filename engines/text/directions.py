"""Stage directions in brackets or stars: "[laughs]", "*sighs*", "(clears throat)". Told by their first word."""

from __future__ import annotations

import re

from engines.text.word_lists import word_list

_VERBS = frozenset(
    word_list(
        "laughs laugh laughing laughter chuckles chuckle chuckling giggles giggle giggling sighs sigh sighing "
        "gasps gasp gasping coughs cough coughing clears whispers whisper whispering groans groan groaning "
        "sniffs sniffles sobs sobbing cries crying yawns yawn yawning smiles smiling grins grinning winks "
        "winking nods nodding shrugs shrugging snorts hums humming gulps exhales inhales breathes applause "
        "music excited sarcastic sarcastically excitedly whispered nervously cheerfully angrily sadly softly "
        "quietly shouting shouts scoffs mumbles mutters"
    )
)
_MORE = frozenset(
    word_list("throat softly quietly loudly nervously heavily deeply in a the to and into with at up down")
)
_CLOSES = {"[": "]", "*": "*", "(": ")"}
_BEGIN = re.compile(r"([\[*(])([A-Za-z]+)([\])*]?)([.,;:!?]*)")
_MAX_TOKENS = 5


class Directions:
    """Owned by one stream."""

    def __init__(self, *, as_written: bool = False) -> None:
        """`as_written`: what was none is given back with its marks, for a reader of raw text."""
        self._as_written = as_written
        self._until = ""  # the mark that closes the one that is open
        self._held = self._written = ""
        self._tokens = 0

    @property
    def open(self) -> bool:
        return bool(self._until)

    def end_line(self) -> str:
        """What was held, if it is to be read all the same."""
        held = self._written if self._until and self._as_written else ""
        self._until = ""
        return held

    def read(self, text: str, *, glued: bool = False) -> str:
        """What is left of the next token; `glued`: no white space stands before it."""
        if self._until:
            return self._go_on(text, glued=glued)
        if text[:1] not in _CLOSES:
            return text
        found = _BEGIN.fullmatch(text)
        if found is None or found[2].lower() not in _VERBS:
            return text
        if found[3]:
            return "" if found[3] == _CLOSES[found[1]] else text
        if found[4]:
            return text
        self._until, self._held, self._written, self._tokens = _CLOSES[found[1]], found[2], text, 0
        return ""

    def _go_on(self, text: str, *, glued: bool) -> str:
        self._tokens += 1
        self._written += text if glued else f" {text}"
        word = text.rstrip(".,;:!?")
        closed = word.endswith(self._until)
        plain = word.removesuffix(self._until).lower()
        allowed = plain in _MORE or plain in _VERBS or plain.endswith("ly")
        if allowed and self._tokens < _MAX_TOKENS:
            if closed:
                self._until = ""
            else:
                self._held += " " + plain
            return ""
        held, self._until = self._held, ""
        if self._as_written:
            return self._written
        return f"{held.replace(' ', '-')}-{text}"  # it was none
