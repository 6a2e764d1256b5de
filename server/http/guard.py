"""What every HTTP request must keep to, whatever its route: size and time of its body, and time to be read.

It watches for a disconnect from the last byte of the body on, so that an abandoned request ends at once, even before
its first audio. It notes when the request's first bytes came, for the route's TTFA clock. It knows no
route and no protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import ApiError
from server.settings import Settings

_LARGE_AT_ONCE, _RETRY_S = 4, 5.0


class HttpGuard:
    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        refusal: Callable[[Scope, ApiError], ASGIApp] = lambda scope, error: error.response(),
        larger: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`refusal` makes the answer to a request that goes no further. `larger`: limits of bodies by path, which
        memory can hold for `_LARGE_AT_ONCE` requests."""
        self._app, self._settings, self._clock, self._refusal = app, settings, clock, refusal
        self._larger, self._large = larger, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["received_s"] = self._clock()
        limit = self._larger.get(scope["path"]) if scope["method"] == "POST" else None
        if limit is None:
            await self._exchange(scope, receive, send, self._settings.max_body_bytes)
        elif self._large >= _LARGE_AT_ONCE:
            message = f"{self._large} requests with large bodies are in progress; come back in a moment"
            error = ApiError("overloaded", message, retry_after_s=_RETRY_S)
            await self._refusal(scope, error)(scope, receive, send)
        else:
            self._large += 1
            try:
                await self._exchange(scope, receive, send, limit)
            finally:
                self._large -= 1

    async def _exchange(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        exchange = _Exchange(receive, send, self._settings)
        try:
            body = await exchange.body(scope, limit)
        except ApiError as error:
            await self._refusal(scope, error)(scope, receive, send)
            return
        if body is not None:
            await exchange.run(self._app, scope, body)


class _Exchange:
    def __init__(self, receive: Receive, send: Send, settings: Settings) -> None:
        self._receive, self._send, self._settings = receive, send, settings
        self._gone = asyncio.Event()
        self._body_given = False
        self._body = b""

    async def body(self, scope: Scope, limit: int) -> bytes | None:
        """The whole body; None when the client left before it was whole."""
        within_s = self._settings.body_timeout_s
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise _too_big(int(length), limit)
        parts, size = [], 0
        try:
            async with asyncio.timeout(within_s):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise _too_big(size, limit)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as error:
            raise ApiError("body_timeout", f"the body did not arrive within {within_s} s") from error

    async def run(self, app: ASGIApp, scope: Scope, body: bytes) -> None:
        self._body = body
        answering = asyncio.ensure_future(app(scope, self._give, self._pass_on))
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([answering, watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            if not answering.done():
                answering.cancel()
            await asyncio.wait([answering, watching])
        if not answering.cancelled():
            with contextlib.suppress(ClientDisconnect):  # cut, by its reader or by us; the server closes the connection
                answering.result()

    async def _watch(self) -> None:
        """Ends when the client has left; the body is whole, so nothing else can come."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def _give(self) -> Message:
        if not self._body_given:
            self._body_given = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _pass_on(self, message: Message) -> None:
        """Raises OSError, as a broken connection does, when the client does not read."""
        try:
            async with asyncio.timeout(self._settings.send_timeout_s):
                await self._send(message)
        except TimeoutError as error:
            raise ConnectionAbortedError(f"nothing was read for {self._settings.send_timeout_s} s") from error


def _too_big(size: int, limit: int) -> ApiError:
    return ApiError("body_too_big", f"the body has {size} bytes or more, the limit is {limit}")
