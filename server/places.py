"""The places that requests and sockets take, and the part of them that callers without a key may take.

Where keys are configured, callers that have shown none share a part, so that they keep no one out who has.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from server.errors import ApiError

_KEYLESS_SHARE = 0.5


class Places:
    def __init__(self, limit: int) -> None:
        self.limit, self.keyless_limit = limit, max(1, round(_KEYLESS_SHARE * limit))
        self.taken = self.keyless = 0


class Place:
    """Of one request or socket."""

    def __init__(self, places: Places, *, keyless: bool) -> None:
        self._places, self._keyless = places, keyless
        places.taken += 1
        places.keyless += keyless

    def check(self) -> None:
        """Raises ApiError for one beyond the limit."""
        places = self._places
        if places.taken > places.limit:
            message = (
                f"{places.taken} requests and sockets are open, the limit is {places.limit}; come back in a moment"
            )
            raise ApiError("overloaded", message, retry_after_s=1)
        if self._keyless and places.keyless > places.keyless_limit:
            message = f"{places.keyless} are open without an API key, the limit is {places.keyless_limit}; send a key"
            raise ApiError("overloaded", message, retry_after_s=1)

    def has_key(self) -> None:
        """The caller has shown one since."""
        self._places.keyless -= self._keyless
        self._keyless = False

    def leave(self) -> None:
        self.has_key()
        self._places.taken -= 1


def place_of(connection: HTTPConnection) -> Place:
    place: Place = connection.state.place
    return place
