"""Owners of what clients have added to a folder, dictionaries or voices, and how many each client may keep.

The folder's files are the operator's; what clients add is noted in `.added.json` beside them. A key owns what it adds;
without keys an address does, and all addresses together may fill only their share, in which what has not been asked
for in a day makes room. Used on one thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.requests import HTTPConnection

from server.access import current_caller
from server.errors import ApiError
from server.logs import get_logger

log = get_logger()
UNUSED_S = 24 * 3600.0
_RECORDS = ".added.json"
_ANONYMOUS = "address "


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    name: str  # a digest: neither keys nor addresses are written down

    @classmethod
    def of(cls, connection: HTTPConnection) -> Owner:
        """Of a request whose key was checked."""
        caller = current_caller()
        if caller is not None:
            return cls(name=f"key {caller.identity}")
        address = connection.client.host if connection.client is not None else ""
        return cls(name=f"{_ANONYMOUS}{_digest(address)}")

    @property
    def anonymous(self) -> bool:
        return self.name.startswith(_ANONYMOUS)


@dataclass(slots=True)
class _Added:
    owner: str
    used_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Of what is owned, in messages."""

    plural: str
    remove: str  # how a client does
    most: int  # of all clients and the operator

    @property
    def anonymous_share(self) -> int:
        return self.most // 2


class Owners:
    def __init__(
        self, folder: Path, kind: Kind, *, of_key: int, of_address: int, clock: Callable[[], float] = time.time
    ) -> None:
        """How many one key, and one address without a key, may keep."""
        self._path, self._kind = folder / _RECORDS, kind
        self._of_key, self._of_address, self._clock = of_key, of_address, clock
        self._added = self._read()

    def reload(self) -> None:
        """Another server on the same folder may have added some."""
        used = {name: one.used_s for name, one in self._added.items()}
        self._added = self._read()
        for name, one in self._added.items():
            one.used_s = max(one.used_s, used.get(name, one.used_s))

    def owns(self, owner: Owner, name: str) -> bool:
        added = self._added.get(name)
        return added is not None and added.owner == owner.name

    def is_added(self, name: str) -> bool:
        return name in self._added

    def used(self, name: str) -> None:
        if name in self._added:
            self._added[name].used_s = self._clock()

    def room_for(self, owner: Owner, names: Iterable[str]) -> str | None:
        """The one that has to make room for one more, or None where there is room. Raises ApiError."""
        stored, kind = set(names), self._kind
        added = {name: one for name, one in self._added.items() if name in stored}
        own = sum(one.owner == owner.name for one in added.values())
        limit = self._of_address if owner.anonymous else self._of_key
        if own >= limit:
            whose = "this address" if owner.anonymous else "this key"
            kept = f"{whose} keeps {own} {kind.plural}, its limit is {limit}"
            raise ApiError("quota_exceeded", f"{kept}; remove one with {kind.remove}")
        anonymous = {name: one for name, one in added.items() if one.owner.startswith(_ANONYMOUS)}
        share_is_full = owner.anonymous and len(anonymous) >= kind.anonymous_share
        if not share_is_full and len(stored) < kind.most:
            return None
        unused = {name: one.used_s for name, one in anonymous.items() if self._clock() - one.used_s > UNUSED_S}
        if unused:
            return min(unused, key=unused.__getitem__)
        kept = f"{len(anonymous)} of clients without a key" if share_is_full else str(len(stored))
        limit = kind.anonymous_share if share_is_full else kind.most
        message = f"{kept} {kind.plural} are kept, the limit is {limit}"
        message += f"; remove one with {kind.remove}, or come back in a day"
        raise ApiError("quota_exceeded", message, retry_after_s=UNUSED_S)

    def forget_all_but(self, names: Iterable[str]) -> None:
        """What the operator has taken away; a file of that name would be the operator's."""
        for name in self._added.keys() - set(names):
            del self._added[name]

    def added(self, name: str, owner: Owner) -> None:
        self._added[name] = _Added(owner=owner.name, used_s=self._clock())
        self._write()

    def removed(self, name: str) -> None:
        if self._added.pop(name, None) is not None:
            self._write()

    def _read(self) -> dict[str, _Added]:
        try:
            found = json.loads(self._path.read_bytes())
            return {name: _Added(owner=str(one["owner"]), used_s=float(one["used_s"])) for name, one in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log.warning("owners_unread", path=str(self._path), problem=repr(error))
            return {}

    def _write(self) -> None:
        """Raises OSError when the folder cannot be written."""
        begun = self._path.with_name(f"{_RECORDS}.new")
        begun.write_text(json.dumps({name: asdict(one) for name, one in self._added.items()}))
        os.replace(begun, self._path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
