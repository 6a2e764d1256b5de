"""Brackets around the text of a link. Only what stands behind a text says that it is a link's, so it is held back until
its bracket closes, and no longer than a line or MAX_CHARS."""

from __future__ import annotations

TAIL = "\uffff"  # stands where the tail of a link was: no character of a text
MAX_CHARS = 160


class LinkTexts:
    """Owned by one stream."""

    def __init__(self) -> None:
        self.held = ""
        self._open: list[int] = []  # places of brackets in what is held

    def add(self, text: str) -> str:
        """A token, or white space. Returns what may go on."""
        if not self.held and "[" not in text:
            return text.replace(TAIL, "")
        for one in text:
            if one == TAIL:
                self._unwrap()
                continue
            if one == "[":
                self._open.append(len(self.held))
            elif one == "]" and self._open:
                self._open.pop()
            self.held += one
        return self.release() if not self._open or len(self.held) > MAX_CHARS else ""

    def release(self) -> str:
        """All of it, as it is."""
        found, self.held, self._open = self.held, "", []
        return found

    def _unwrap(self) -> None:
        """Takes the bracket away that opened the text of a link, and an image's mark before it."""
        if not self._open:
            return
        at = self._open.pop()
        before = self.held[:at]
        if before.endswith("!") and not before[-2:-1].isalnum():
            before = before[:-1]
        self.held = before + self.held[at + 1 :]
