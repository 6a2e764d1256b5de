"""HTML's comments, which may go on for many tokens. In a span of code they are read."""

from __future__ import annotations

_MAX_TOKENS = 200  # of one that is never closed


class Comments:
    """Owned by one stream."""

    def __init__(self) -> None:
        self.open = False
        self._tokens = 0

    def strip(self, text: str) -> str:
        """What is left of the next token."""
        kept = ""
        while True:
            if self.open:
                self._tokens += 1
                _, closed, rest = text.partition("-->")
                if not closed and self._tokens <= _MAX_TOKENS:
                    return kept
                text, self.open = rest if closed else text, False
            begin = text.find("<!--")
            if begin < 0 or text.count("`", 0, begin) % 2:
                return kept + text
            kept, text = kept + text[:begin], text[begin + 4 :]
            self.open, self._tokens = True, 0
