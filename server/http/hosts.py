"""Under which names the server answers: `ALLOWED_HOSTS`.

A web page can make its own name point at this machine (DNS rebinding); the browser then takes us for that page's
server, and only the name in the request tells. Addresses always pass: no foreign page is served from an address of
this machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import ApiError
from server.settings import Settings

_LOOPBACK = frozenset({"localhost", "*.localhost"})


class Hosts:
    def __init__(self, app: ASGIApp, settings: Settings, refusal: Callable[[Scope, ApiError], ASGIApp]) -> None:
        self._app, self._refusal = app, refusal
        self._allowed = allowed_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            host = Headers(scope=scope).get("host")
            if host is not None and not _is_allowed(host, self._allowed):
                allowed = ", ".join(sorted(self._allowed))
                message = (
                    f"this server does not answer as {host[:100]!r}; PARLANDO_ALLOWED_HOSTS lists its names: {allowed}"
                )
                await self._refusal(scope, ApiError("host_not_allowed", message))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Unless set: this machine's own names when only it can connect, otherwise any."""
    if settings.hosts:
        return settings.hosts
    here = settings.host.lower()
    is_loopback = ipaddress.ip_address(here).is_loopback if _is_address(here) else here == "localhost"
    return _LOOPBACK if is_loopback else frozenset({"*"})


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    name = _without_port(host).lower().removesuffix(".")
    if "*" in allowed or name in allowed or _is_address(name):
        return True
    return any(one.startswith("*.") and name.endswith(one[1:]) for one in allowed)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
