"""How many requests and sockets are served at once, and how many of them without an API key.

Where keys are configured, callers without one share a part of the limit, so that they cannot lock out the others.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from server.errors import ApiError

_KEYLESS_SHARE = 0.5


class ConnectionLimit:
    def __init__(self, limit: int) -> None:
        self.limit, self.keyless_limit = limit, max(1, round(_KEYLESS_SHARE * limit))
        self.taken = self.keyless = 0


class ConnectionPermit:
    """Of one request or socket."""

    def __init__(self, connection_limit: ConnectionLimit, *, keyless: bool) -> None:
        self._limit, self._keyless = connection_limit, keyless
        connection_limit.taken += 1
        connection_limit.keyless += keyless

    def check(self) -> None:
        """Raises ApiError for one beyond the limit."""
        limit = self._limit
        if limit.taken > limit.limit:
            message = f"{limit.taken} requests and sockets are open, the limit is {limit.limit}; come back in a moment"
            raise ApiError("overloaded", message, retry_after_s=1)
        if self._keyless and limit.keyless > limit.keyless_limit:
            message = f"{limit.keyless} are open without an API key, the limit is {limit.keyless_limit}; send a key"
            raise ApiError("overloaded", message, retry_after_s=1)

    def authenticated(self) -> None:
        """The caller has shown one since."""
        self._limit.keyless -= self._keyless
        self._keyless = False

    def release(self) -> None:
        self.authenticated()
        self._limit.taken -= 1


def permit_of(connection: HTTPConnection) -> ConnectionPermit:
    permit: ConnectionPermit = connection.state.permit
    return permit
