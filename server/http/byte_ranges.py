"""`Range` of RFC 9110: one range of bytes. Others, several at once and what is not to the letter may be passed over."""

from __future__ import annotations

import re

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)


class OutOfRange(Exception):
    """No byte of it exists."""


def byte_range(asked: str | None, size: int) -> range | None:
    """None: the whole. Raises OutOfRange."""
    found = _ONE_RANGE.fullmatch(asked.replace(" ", "")) if asked is not None else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise OutOfRange
    return range(start, end)


def is_all(asked: str) -> bool:
    """From the first byte to the end, as browsers ask before they know more."""
    return asked.replace(" ", "").lower() == "bytes=0-"
