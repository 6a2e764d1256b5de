"""What every HTTP request keeps to, through a small application: size, time, and the client's leaving."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from server.http.guard import HttpGuard
from server.settings import Settings


class Client:
    """The server's side of one exchange, as an ASGI server would hold it."""

    def __init__(self, *body: bytes, complete: bool = True, says_bytes: int | None = None) -> None:
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        for place, part in enumerate(body, 1):
            more = not complete or place < len(body)
            self.to_app.put_nowait({"type": "http.request", "body": part, "more_body": more})
        length = [(b"content-length", str(says_bytes).encode())] if says_bytes is not None else []
        self.scope: Scope = {"type": "http", "method": "POST", "headers": length, "path": "/"}
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[Message] = []

    def leave(self) -> None:
        self.to_app.put_nowait({"type": "http.disconnect"})

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    async def request(self, app: Any, **settings: Any) -> tuple[int, Any]:
        await HttpGuard(app, Settings(**settings))(self.scope, self.to_app.get, self.send)
        body = b"".join(message.get("body", b"") for message in self.sent)
        return self.sent[0]["status"], json.loads(body)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body it was given."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


def test_a_body_in_parts_reaches_the_route_whole() -> None:
    async def scenario() -> None:
        assert await Client(b"ab", b"cde").request(echo) == (200, 5)

    asyncio.run(scenario())


@pytest.mark.parametrize("client", [{"says_bytes": 5_000}, {}], ids=["as it says", "as it comes"])
def test_a_body_that_is_too_big_is_refused(client: dict[str, int]) -> None:
    async def scenario() -> None:
        status, body = await Client(b"x" * 1_000, b"x" * 4_000, **client).request(echo, max_body_bytes=2_048)
        assert (status, body["error"]["code"]) == (413, "body_too_big")
        assert "5000 bytes or more, the limit is 2048" in body["error"]["message"]

    asyncio.run(scenario())


def test_a_body_that_does_not_come_is_refused() -> None:
    async def scenario() -> None:
        status, body = await Client(b"x", complete=False).request(echo, body_timeout_s=0.05)
        assert (status, body["error"]["code"]) == (408, "body_timeout")

    asyncio.run(scenario())


def test_a_client_that_leaves_ends_its_request_before_the_answer() -> None:
    async def scenario() -> None:
        client = Client(b"{}")
        begun, ended = asyncio.Event(), asyncio.Event()

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            begun.set()
            try:
                await never(scope, receive, send)
            finally:
                ended.set()

        serving = asyncio.ensure_future(HttpGuard(route, Settings())(client.scope, client.to_app.get, client.send))
        await begun.wait()
        client.leave()
        await asyncio.wait_for(serving, 5)
        assert ended.is_set()
        assert not client.sent

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_given_up() -> None:
    async def scenario() -> None:
        client = Client(b"{}")
        client.reads.clear()
        with pytest.raises(ConnectionAbortedError, match="nothing was read"):
            await client.request(echo, send_timeout_s=0.05)

    asyncio.run(scenario())
