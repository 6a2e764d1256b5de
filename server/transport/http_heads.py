"""What a request's head and framing must keep to, checked before it is parsed.

Two readers of one message must never see two messages: line ends, folds and lengths that proxies read differently are
refused. Sizes and counts are bounded, so that no head and no body costs more time than its bytes are worth.
"""

from __future__ import annotations

import re
from typing import Any

import h11

from server.errors import ApiError

MAX_FIELDS = MAX_PARAMETERS = 100
_MOST_SMALL_PIECES = 1_024  # of a body, whatever its limit; beyond them pieces hold this many bytes on average
_BYTES_A_PIECE = 64
_HEAD_END = re.compile(rb"\n\r?\n")
_ODD_LINES = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\n[ \t]")
_VERSIONS = (b"1.0", b"1.1")


class BoundedConnection(h11.Connection):
    """The server's side of one connection. After an error `fault` says what to answer."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._max_head_bytes = max_head_bytes
        self._pieces = self._body_bytes = 0
        self.fault: ApiError | None = None

    def receive_data(self, data: bytes) -> None:
        """Blank lines between requests say nothing (RFC 9112, 2.2)."""
        if self.their_state is h11.IDLE and data[:1] in (b"\r", b"\n") and not self.trailing_data[0]:
            data = data.lstrip(b"\r\n")
        if data:
            super().receive_data(data)

    def next_event(self) -> Any:
        try:
            if self.their_state is h11.IDLE:
                self._check_head(self.trailing_data[0])
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._pieces = self._body_bytes = 0
                self._check_framing(event)
            elif isinstance(event, h11.Data):
                self._count(len(event.data))
            return event
        except h11.RemoteProtocolError as error:
            if self.fault is None:
                too_big = error.error_status_hint == 431
                self.fault = self._too_big() if too_big else ApiError("invalid_http", f"not HTTP/1.1: {error}")
            raise

    def _count(self, size: int) -> None:
        self._pieces, self._body_bytes = self._pieces + 1, self._body_bytes + size
        if self._pieces > _MOST_SMALL_PIECES and self._body_bytes < _BYTES_A_PIECE * self._pieces:
            small = f"more than {_MOST_SMALL_PIECES} pieces of less than {_BYTES_A_PIECE} bytes"
            self._refuse("invalid_http", f"the body comes in {small}; send larger ones")

    def _check_head(self, buffered: bytes) -> None:
        end = _HEAD_END.search(buffered)
        head = buffered if end is None else buffered[: end.end()]
        if len(head) > self._max_head_bytes or head.count(b"\n") > MAX_FIELDS + 2:
            self.fault = self._too_big()
            raise h11.RemoteProtocolError(self.fault.message, error_status_hint=431)
        if odd := _ODD_LINES.search(head):
            self._refuse(
                "invalid_http", f"byte {odd.start()} of the head: lines end with CR LF, and none begins with a blank"
            )

    def _check_framing(self, request: h11.Request) -> None:
        if request.http_version not in _VERSIONS:
            self._refuse("invalid_http", f"HTTP/{request.http_version.decode()} is not spoken here; use HTTP/1.1")
        if (parameters := request.target.count(b"&") + 1) > MAX_PARAMETERS:
            message = f"the address has {parameters} parameters, the limit is {MAX_PARAMETERS}"
            self._refuse("head_too_big", message)
        names = {name for name, _ in request.headers}
        if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
            self._refuse("invalid_http", "a body has either Content-Length or, from HTTP/1.1 on, Transfer-Encoding")

    def _refuse(self, code: str, message: str) -> None:
        self.fault = ApiError(code, message)
        raise h11.RemoteProtocolError(message)

    def _too_big(self) -> ApiError:
        message = f"the head of a request is at most {self._max_head_bytes} bytes and {MAX_FIELDS} fields"
        return ApiError("head_too_big", message)
