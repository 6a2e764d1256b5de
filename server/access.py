"""Access and quotas: API keys, origins of web pages, quotas by key.

Keys come from the environment or a file and are compared by digest in constant time, always against all of them. The
file is read again when it has changed; one that cannot be read, or has an error in it, leaves the keys as they were.
The caller found by `check_key` is remembered for the rest of that request or connection, so that each of its utterances
counts against its quota. Nothing here is asynchronous.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from server.errors import ApiError
from server.logs import get_logger
from server.settings import Settings
from server.watched_file import WatchedFile

log = get_logger()
# A browser's WebSocket can send no header: its key is among the subprotocols that it offers.
KEY_BEHIND = ("parlando.key.", "openai-insecure-api-key.")  # in the same one
KEY_FOLLOWS = ("token", "bearer")  # in the next one, as Deepgram's clients send it
_MINUTE_S = 60.0
_COMMENT, _COUNT = re.compile(r"(?:^|\s)#.*"), re.compile(r"0*[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """None: no limit."""

    streams: int | None = None
    characters_per_minute: int | None = None


class Caller:
    """One key's use of the server."""

    def __init__(self, name: str, quota: Quota, clock: Callable[[], float], identity: str = "") -> None:
        """`identity` stays while the key does, whatever the others are."""
        self.name, self.quota, self.identity = name, quota, identity
        self.streams = 0
        self._clock = clock
        self._left, self._filled_s = float(quota.characters_per_minute or 0), clock()

    @property
    def characters_spent(self) -> int:
        """Of its quota, and not yet given back by time."""
        limit = self.quota.characters_per_minute
        if limit is None:
            return 0
        left = self._left + (self._clock() - self._filled_s) * limit / _MINUTE_S
        return max(0, round(limit - left))

    def open_stream(self) -> None:
        limit = self.quota.streams
        if limit is not None and self.streams >= limit:
            message = f"this key has {self.streams} utterances in progress, its limit is {limit}; wait for one to end"
            raise ApiError("quota_exceeded", message, retry_after_s=1)
        self.streams += 1

    def close_stream(self) -> None:
        self.streams -= 1

    def spend(self, characters: int) -> None:
        """A bucket that fills evenly: an utterance may overdraw it, the next has to wait."""
        limit = self.quota.characters_per_minute
        if limit is None:
            return
        now, rate = self._clock(), limit / _MINUTE_S
        self._left, self._filled_s = min(limit, self._left + (now - self._filled_s) * rate), now
        if self._left <= 0:
            message = f"this key has used its {limit} characters a minute; wait"
            raise ApiError("quota_exceeded", message, retry_after_s=-self._left / rate + 1)
        self._left -= characters


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current_caller() -> Caller | None:
    """The caller of this request; None where no keys are configured."""
    return _caller.get()


class Access:
    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings, self._clock, self._origins = settings, clock, settings.origins
        self._file = None if settings.api_keys_file is None else WatchedFile(settings.api_keys_file, clock)
        self._callers = self._read({})

    def _read(self, before: dict[bytes, Caller]) -> dict[bytes, Caller]:
        """By digest of the key. One that stays keeps its streams and what it has spent. Raises OSError, ValueError."""
        settings = self._settings
        default = Quota(streams=settings.key_streams, characters_per_minute=settings.key_characters_per_minute)
        keys = [(f"key-{place}", key, default) for place, key in enumerate(sorted(settings.keys), 1)]
        if self._file is not None:
            try:
                keys += read_keys(self._file.path, default)
            except OSError as error:
                raise OSError(f"api_keys_file {self._file.path}: {error.strerror or error}") from error
        callers = {}
        for name, key, quota in keys:
            caller = before.get(_digest(key)) or Caller(name, quota, self._clock, _identity(key))
            caller.name, caller.quota = name, quota
            callers[_digest(key)] = caller
        return callers

    def _refresh(self) -> None:
        if self._file is None or not self._file.has_changed():
            return
        try:
            self._callers = self._read(self._callers)
        except (OSError, ValueError) as error:
            log.error("keys_unread", path=str(self._file.path), problem=str(error), means="the keys of before count")
        else:
            log.info("keys_read", path=str(self._file.path), keys=len(self._callers))

    @property
    def wants_keys(self) -> bool:
        """A file without keys lets no caller in."""
        return bool(self._callers) or self._file is not None

    @property
    def origins(self) -> frozenset[str]:
        return self._origins

    @property
    def allows_all_origins(self) -> bool:
        return "*" in self._origins

    @property
    def current_secret(self) -> bytes | None:
        """Of the caller found by `check_key`: the digest of its key."""
        return next((digest for digest, one in self._callers.items() if one is current_caller()), None)

    def enter(self, holds: Callable[[bytes], bool]) -> bool:
        """Makes the caller with a secret that `holds` this request's. Returns whether there is one; all are tried."""
        self._refresh()
        found = [caller for secret, caller in self._callers.items() if holds(secret)]
        if found:
            _caller.set(found[0])
        return bool(found)

    def may_enter(self, key: str | None) -> bool:
        return not self.wants_keys or self._caller(key or "") is not None

    def enter_as(self, key: str | None) -> None:
        """For a protocol without keys: what follows is on this key's account, or on none's where none is configured.
        Raises ApiError for a key that is one no more."""
        self._refresh()
        if not self.may_enter(key):
            raise ApiError("invalid_api_key", "the key of this server's clients is one no more: ask its operator")
        _caller.set(self._caller(key or ""))

    def knows(self, connection: HTTPConnection) -> bool:
        """Its headers carry a key, or none is configured."""
        self._refresh()
        return not self.wants_keys or self._caller(_given_key(connection)) is not None

    def check_key(self, connection: HTTPConnection, key: str | None = None) -> None:
        """`key` was given elsewhere than in the headers. Any passes when none is configured."""
        self._refresh()
        if not self.wants_keys:
            return
        caller = self._caller(key or _given_key(connection))
        if caller is None:
            message = "the API key is missing or wrong; send it as 'Authorization: Bearer KEY' or 'xi-api-key: KEY'"
            raise ApiError("invalid_api_key", message)
        _caller.set(caller)

    def _caller(self, key: str) -> Caller | None:
        given, caller = _digest(key), None
        for digest, one in self._callers.items():
            if hmac.compare_digest(given, digest):
                caller = one
        return caller

    def check_origin(self, connection: HTTPConnection) -> None:
        """Programs send no Origin and pass; a web page passes from our own host or from the list."""
        origin = connection.headers.get("origin")
        if origin is None or self.allows_all_origins or origin in self._origins:
            return
        if urlsplit(origin).netloc and urlsplit(origin).netloc == connection.headers.get("host"):
            return
        raise not_allowed(origin, self._origins)


def not_allowed(origin: str, origins: frozenset[str]) -> ApiError:
    allowed = ", ".join(sorted(origins)) or "none but this server's own pages"
    message = f"pages of {origin[:100]!r} may not connect; PARLANDO_ALLOWED_ORIGINS lists those that may: {allowed}"
    return ApiError("origin_not_allowed", message, param="origin")


def _given_key(connection: HTTPConnection) -> str:
    headers = connection.headers
    for name in ("xi-api-key", "x-api-key"):
        if name in headers:
            return headers[name].strip()
    if "authorization" in headers:
        return bearer_key(headers["authorization"])
    return _offered_key(connection.scope.get("subprotocols", ()))


def _offered_key(subprotocols: Sequence[str]) -> str:
    for name, following in pairwise((*subprotocols, "")):
        if name in KEY_FOLLOWS:
            return following
        if (prefix := next((one for one in KEY_BEHIND if name.startswith(one)), None)) is not None:
            return name.removeprefix(prefix)
    return ""


def bearer_key(authorization: str) -> str:
    """The key of an `Authorization` header; empty for a scheme that carries none."""
    scheme, _, key = authorization.strip().partition(" ")
    return key.strip() if scheme.lower() in ("bearer", "token") else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _identity(key: str) -> str:
    return hashlib.sha256(b"identity " + key.encode()).hexdigest()[:16]


def read_keys(path: Path, default: Quota) -> list[tuple[str, str, Quota]]:
    """(name, key, quota) by line: `KEY [name=NAME] [streams=N] [characters_per_minute=N]`; `#` begins a comment at the
    start of a line or behind a blank. Raises OSError, ValueError."""
    found = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    for number, line in enumerate(lines, 1):
        key, *fields = _COMMENT.sub("", line).split() or [""]
        if not key:
            continue
        given = dict(field.partition("=")[::2] for field in fields)
        unknown = given.keys() - {"name", "streams", "characters_per_minute"}
        if unknown or not all(_COUNT.fullmatch(value) for name, value in given.items() if name != "name"):
            message = f"{path}, line {number}: use KEY [name=NAME] [streams=N] [characters_per_minute=N]"
            raise ValueError(f"{message}, N at least 1")
        quota = Quota(
            streams=int(given["streams"]) if "streams" in given else default.streams,
            characters_per_minute=(
                int(given["characters_per_minute"])
                if "characters_per_minute" in given
                else default.characters_per_minute
            ),
        )
        found.append((given.get("name", f"line-{number}"), key, quota))
    return found
