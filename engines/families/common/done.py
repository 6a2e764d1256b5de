"""The `Pending` of a device without a queue of its own."""

from __future__ import annotations

from typing import Any


class Done:
    """A call that was finished when it returned, as all are on a CPU."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def wait(self) -> Any:
        return self._result
