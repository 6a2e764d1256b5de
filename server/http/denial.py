"""WebSockets that are refused before their handshake: an HTTP answer in its place, with a body that says why."""

from __future__ import annotations

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from server.errors import ApiError


async def deny(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """`answer` also where the web server knows no such answers, as its close."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await WebSocketClose(1008)(scope, receive, send)
    else:
        await answer(scope, receive, send)


def no_such_path(scope: Scope, routes: list[BaseRoute]) -> ApiError:
    """What there is of the kind that was asked for."""
    path = scope["path"]
    if scope["type"] == "websocket":
        sockets = [route.path for route in routes if isinstance(route, APIWebSocketRoute)]
        return ApiError("not_found", f"there is no WebSocket at {path!r}; there are: {', '.join(sockets)}")
    if any(isinstance(route, APIWebSocketRoute) and route.path_regex.match(path) for route in routes):
        return ApiError("upgrade_required", f"{path!r} is a WebSocket; connect to it with ws:// or wss://")
    here = [route.path_format for route in routes if isinstance(route, APIRoute) and route.path.startswith("/v1/")]
    listed = ", ".join(dict.fromkeys(here))
    return ApiError("not_found", f"{scope['method']} {path}: there is no such path; there are: {listed}")


def methods_at(path: str, routes: list[BaseRoute]) -> str:
    """What `Allow` lists; the router itself names the methods of the first route alone."""
    found = {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))
