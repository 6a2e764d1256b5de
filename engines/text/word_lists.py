"""Long lists of words are written as plain text; this makes them tuples."""

from __future__ import annotations


def word_list(text: str) -> tuple[str, ...]:
    return tuple(text.split())
