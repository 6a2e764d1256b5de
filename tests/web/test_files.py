"""The page's files over HTTP, without a browser."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from server.app import create_app
from server.settings import Settings


def fetched(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(Settings(api_keys="a-key", allowed_hosts="*")))
        async with httpx.AsyncClient(transport=transport, base_url="http://here:8000") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/web/api.js", "text/javascript"),
        ("/web/main.js", "text/javascript"),
        ("/web/style.css", "text/css"),
        ("/web/icon.svg", "image"),
    ],
)
def test_files_come_without_a_key_and_bind_the_browser_to_this_host(path: str, kind: str) -> None:
    answer = fetched(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "connect-src 'self' ws://here:8000 wss://here:8000;" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert fetched(path, "HEAD").status_code == 200


def test_a_strange_host_does_not_write_the_policy() -> None:
    policy = fetched("/", host="evil; script-src *").headers["content-security-policy"]
    assert "evil" not in policy
    assert "connect-src 'self';" in policy


@pytest.mark.parametrize("path", ["/web/", "/web/none.js", "/web/..%2Fapp.py", "/web/%2e%2e/app.py"])
def test_nothing_else_is_served(path: str) -> None:
    assert fetched(path).status_code == 404


def test_the_page_names_no_other_host() -> None:
    names = ("main.js", "client.js", "player.js", "speech.js", "stage.js", "style.css", "api.js")
    for name in ("", "docs", *(f"web/{name}" for name in names)):
        assert "//" not in fetched("/" + name).text.replace("// ", "").replace("//\n", ""), name
