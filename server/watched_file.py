"""A file that an operator may replace while the server runs: mounted secrets change without a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_LOOK_EVERY_S = 1.0


class WatchedFile:
    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """As it is now counts as known."""
        self.path = path
        self._clock, self._looked_s, self._known = clock, clock(), self._stamp()

    def has_changed(self) -> bool:
        """Since the last call that returned True; at most one look a second. A file that is missing has not changed."""
        now = self._clock()
        if now - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s, stamp = now, self._stamp()
        changed = stamp is not None and stamp != self._known
        if changed:
            self._known = stamp
        return changed

    def _stamp(self) -> tuple[int, int, int, int] | None:
        """Of what a link leads to: mounted secrets are swapped by their link. What may be read now that could not is
        another one, too."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
