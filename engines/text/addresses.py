"""Web and mail addresses, file paths, hashtags and mentions, read mark by mark."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import is_spelled, spell
from engines.text.marks import ADDRESS_MARKS
from engines.text.word_lists import word_list

_ENDINGS = "com|org|net|io|dev|ai|edu|gov|mil|co|uk|us|de|fr|eu|es|it|nl|ch|jp|cn|in|ca|au|info|app|me|tv|xyz|gg|ly|to"
_WEB = re.compile(
    rf"[a-z][a-z0-9+]*://\S+|www\.\S+|mailto:\S+|(?:[a-z0-9][a-z0-9-]*\.)+(?:{_ENDINGS})(?::\d+)?(?:[/?#]\S*)?",
    re.IGNORECASE,
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.+@~-]+)+[/\\]?", re.ASCII)
_FILE = re.compile(
    r"[\w-]+(?:\.[\w-]+)*\.(?:txt|md|py|js|ts|json|ya?ml|toml|html?|css|c|cpp|h|rs|go|java|sh|pdf|docx?|xlsx?|csv|xml|"
    r"png|jpe?g|gif|svg|mp3|mp4|wav|zip|gz|tar|exe|log|ini|cfg|onnx|bin|dll|so)",
    re.ASCII,
)
_ENDING = re.compile(
    r"\.(?:NET|com|org|net|io|dev|ai|edu|gov|app|env|gitignore|txt|md|py|js|ts|json|ya?ml|toml|html?|css|cpp|rs|sh|pdf|docx?|"
    r"xlsx?|csv|xml|png|jpe?g|gif|svg|mp3|mp4|wav|zip|gz|tar|exe|log|ini|cfg|onnx|bin|dll)"
)
_HASHTAG = re.compile(r"#(?:[A-Za-z_][\w-]*|\d+[A-Z]\w*)", re.ASCII)
_MENTION = re.compile(r"@[A-Za-z_][\w.-]*", re.ASCII)
_SCHEME = re.compile(r"^(?:https?|ftp|wss?|mailto):(?://)?", re.IGNORECASE)
_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|.")
_SPELLED_HERE = frozenset(
    word_list("www js py md ts rs cpp css io uk us de fr eu tv html xml csv pdf png svg gz cfg dll usr src txt")
)
_PRONOUNCED = frozenset(word_list("com org net gov edu info dev app json yaml"))


def read_address(core: str) -> list[str] | None:
    """Spoken words, None when the token is no address."""
    if _HASHTAG.fullmatch(core):
        return ["hashtag", *_letters(core[1:].replace("_", " "))]
    if _MENTION.fullmatch(core):
        return ["at", *_letters(core[1:])]
    if _WEB.fullmatch(core):
        return _letters(_SCHEME.sub("", core).rstrip("/"))
    if (
        _MAIL.fullmatch(core)
        or _FILE.fullmatch(core)
        or _ENDING.fullmatch(core)
        or (_PATH.fullmatch(core) and len(re.findall(r"[/\\]", core)) > 1)
    ):
        return _letters(core)
    return None


def spell_out(text: str) -> list[str]:
    """Every letter, digit and mark by its name."""
    words: list[str] = []
    for one in text:
        if one.isdecimal():
            words += numbers.digits(one)
        elif one.isalpha():
            words += spell(one)
        else:
            words += ADDRESS_MARKS.get(one, "").split()
    return words


def _letters(text: str) -> list[str]:
    words: list[str] = []
    for piece in _PIECES.findall(text):
        low = piece.lower()
        if piece.isdecimal():
            words += _number(piece)
        elif piece.isalpha():
            words += _word(low, capitals=piece.isupper() and len(piece) > 1)
        elif piece in ADDRESS_MARKS:
            words += ADDRESS_MARKS[piece].split()
    return words


def _number(digits: str) -> list[str]:
    if len(digits) == 4 and "1900" <= digits < "2100":
        return numbers.year(int(digits))
    short = digits[0] != "0" and (len(digits) < 3 or digits in ("100", "200", "365", "500", "1000"))
    return numbers.cardinal(int(digits)) if short else numbers.digits(digits)


def _word(low: str, *, capitals: bool) -> list[str]:
    if low in _PRONOUNCED:
        return [low]
    spelled = (
        low in _SPELLED_HERE or not re.search(r"[aeiouy]", low) or (capitals and is_spelled(low, among_capitals=False))
    )
    return spell(low) if len(low) == 1 or (spelled and len(low) < 7) else [low]
