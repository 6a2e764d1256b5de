"""Connections that wait: for a request, or for the client's part of a close. When there are too many the oldest closes.

Only they may be cut to make room; a connection that is being answered is never in here. So a crowd of silent
connections keeps neither callers nor health checks out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Waiting(Protocol):
    def leave(self) -> None:
        """Closes the connection."""
        ...


class IdleConnections:
    def __init__(self, max_connections: int) -> None:
        """`max_connections`: of all kinds."""
        self._max_connections = max_connections
        self._waiting: dict[Waiting, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, one: Waiting, connections: Collection[object]) -> None:
        self._waiting[one] = None
        oldest = next(iter(self._waiting))
        if len(connections) > self._max_connections and oldest is not one:
            del self._waiting[oldest]
            oldest.leave()

    def left(self, one: Waiting) -> None:
        self._waiting.pop(one, None)
