"""The page at `/` to try the server, the API reference at `/docs`, and the files that they are made of.

The files are package data, read once. The browser is told to load nothing from anywhere else. A page needs no key: the
protocol that it speaks asks for one.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from server.errors import ApiError

router = APIRouter(include_in_schema=False)
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")  # what is safe in a response header


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    return _answer(request, "index.html")


@router.api_route("/docs", methods=["GET", "HEAD"])
async def reference(request: Request) -> Response:
    return _answer(request, "api.html")


@router.api_route("/web/{name}", methods=["GET", "HEAD"])
async def part(request: Request, name: str) -> Response:
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    content = _contents().get(name)
    if content is None:
        raise ApiError("not_found", f"there is no file {name!r} of the page")
    headers = {
        "Content-Security-Policy": _policy(request.headers.get("host", "")),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=_MEDIA_TYPES["." + name.rpartition(".")[2]], headers=headers)


@cache
def _contents() -> dict[str, bytes]:
    """By name; only what is in the folder can be asked for."""
    folder = files("server").joinpath("web")
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.is_file() and "." + file.name.rpartition(".")[2] in _MEDIA_TYPES
    }


def _policy(host: str) -> str:
    """Some browsers do not count WebSockets of the same host as 'self', so the host is named."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
