r"""A word with its sounds, as Deepgram's texts give them: \{"word": "gif", "pronounce": "dʒɪf"\} (or without \).

It may be many tokens long. What turns out to be something else is read as it came.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

BEGINNING = '{"'  # that a token with its beginning holds
_BEGINS = re.compile(r'(?<![\w`\\])\\*\{"(?:word|pronounce)"')
_MAX_CHARS = 300


class Given(NamedTuple):
    word: str
    ipa: str


class Found(NamedTuple):
    before: str
    given: Given | None
    behind: str
    begun: str  # for the next token: what is not closed


def given_sounds(begun: str, text: str) -> Found:
    """In the next token. What is no such word comes back whole, a blank between its tokens."""
    before = ""
    if begun:
        text = f"{begun} {text}"
    elif found := _BEGINS.search(text):
        before, text = text[: found.start()], text[found.start() :]
    else:
        return Found(text, None, "", "")
    written, closed, behind = text.partition("}")
    if not closed and len(text) <= _MAX_CHARS:
        return Found(before, None, "", text)
    given = _parsed(written) if closed else None
    return Found(before, given, behind, "") if given else Found(before + text, None, "", "")


def _parsed(written: str) -> Given | None:
    """Of all before the bracket that closes it."""
    try:
        fields = json.loads(written.lstrip("\\").rstrip("\\") + "}")
    except ValueError:
        return None
    word, ipa = fields.get("word"), fields.get("pronounce")
    return Given(word.strip(), ipa) if isinstance(word, str) and isinstance(ipa, str) else None
