"""Stars that count: "rated 5★", "4.7 ⭐", "★★★★☆". Other stars are ornaments, and silent."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.context import Around

STARS = "★☆"
_WRITTEN = re.compile(r"[(\[\"'*_]{0,4}(?:\d(?:\.\d)?)?[★⭐☆\ufe0f]{1,12}[)\]\"'*_.,;:!?]{0,6}")
_STARS = re.compile(r"(\d(?:\.\d)?)?(★*)(☆*)")
_RATING = re.compile(r"[0-5](?:\.\d+)?")
_BEFORE_NOUNS = frozenset(["a", "an", "the", "any", "every", "our"])
_MOST = 5


def keep_stars(text: str) -> str | None:
    """A token of stars in the two that are read; None for any other."""
    return text.replace("⭐", "★").replace("\ufe0f", "") if _WRITTEN.fullmatch(text) else None


def read_stars(core: str, around: Around) -> list[str] | None:
    """Spoken words, none of an ornament; None where the token is not of stars."""
    found = _STARS.fullmatch(core)
    if not core or found is None or not (found[2] or found[3]):
        return None
    left, full = around.left, len(found[2])
    if found[1]:
        one = found[1] == "1" or left.lower in _BEFORE_NOUNS
        return [*numbers.decimal(found[1]), "star" if one else "stars"]
    if full and _RATING.fullmatch(left.number or ""):
        return ["star" if left.number == "1" else "stars"]
    among = full + len(found[3]) == _MOST or (left.core and not left.shouted and not found[3] and 1 < full < _MOST)
    return [*numbers.cardinal(full), "star" if full == 1 else "stars"] if full and among else []
