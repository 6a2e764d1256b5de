"""What a caller is told of speech that its model did not end."""

from __future__ import annotations

_MOST = 8  # different lengths


class CutShort:
    """Of one utterance."""

    def __init__(self) -> None:
        self._told: dict[str, None] = {}

    def add(self, seconds: float) -> None:
        """A part of it was cut off after so long."""
        if len(self._told) < _MOST:
            self._told[f"speech was cut off after {seconds:.1f} s, since the model did not end it"] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._told)
