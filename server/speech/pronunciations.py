"""Pronunciation dictionaries as requests ask for them: entries of their own, and stored ones by name and version.

Files are read and entries parsed on one thread beside the event loop, and packed there for their way to the engine.
Entries that come again, as an agent sends them with every reply, are parsed once. What clients may add and remove is
for their owners to decide. docs/pronunciation.md is the contract.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from engines.errors import ConfigError
from engines.text import (
    BadPronunciation,
    ExpansionTooLong,
    PronunciationDictionary,
    PronunciationStore,
    UnknownDictionary,
    check_expansion,
    parse_dictionary,
)
from engines.text.pronunciation_store import MAX_STORED
from server.errors import ApiError
from server.logs import get_logger
from server.speech.owners import Kind, Owner, Owners

log = get_logger()
MAX_ENTRIES = 1_000  # that one request brings along
MAX_DICTIONARIES = 16
KIND = Kind(plural="dictionaries", remove="DELETE /v1/pronunciation-dictionaries/ID", most=MAX_STORED)
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pronunciations")
_Result = TypeVar("_Result")
Name = Annotated[StrictStr, Field(max_length=64)]
Chosen = tuple[PronunciationDictionary, ...]  # the first that has a word decides


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PronunciationEntry(_Asked):
    """How a word is spoken: exactly one of `say`, `arpabet`, `ipa` and `phones`."""

    word: StrictStr
    say: StrictStr | None = None
    arpabet: StrictStr | None = None
    ipa: StrictStr | None = None
    phones: StrictStr | None = None
    case_sensitive: StrictBool = False


class DictionaryName(_Asked):
    """A stored dictionary; no version or `latest` takes what is there."""

    name: Name
    version: Name | None = None


class Pronunciations(_Asked):
    """Entries of the request's own come first, then the stored dictionaries as listed."""

    entries: list[PronunciationEntry] = Field([], max_length=MAX_ENTRIES)
    dictionaries: list[Name | DictionaryName] = Field([], max_length=MAX_DICTIONARIES)

    @property
    def stored(self) -> list[DictionaryName]:
        return [DictionaryName(name=one) if isinstance(one, str) else one for one in self.dictionaries]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A stored dictionary that can be used, and since when its file is as it is."""

    name: str
    version: str
    num_entries: int
    changed_s: float
    is_added: bool = False  # by a client


class Dictionaries:
    def __init__(
        self, folder: Path | None, *, of_key: int = 64, of_address: int = 16, max_expanded: int = 4096
    ) -> None:
        """None: there are no stored ones. One key, and one address without a key, may add so many; `max_expanded`
        characters are spoken for entries in one text."""
        self._max_expanded = max_expanded
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"pronunciations: {str(folder)!r} is no folder; make it, or leave the setting out")
        self._store = None if folder is None else PronunciationStore(folder)
        self._owners = None if folder is None else Owners(folder, KIND, of_key=of_key, of_address=of_address)
        self._told: dict[str, str] = {}  # problems that the log has

    async def chosen(self, asked: Pronunciations | None, text: str = "", param: str = "pronunciations") -> Chosen:
        """`text`: where it is there whole, what entries put into it is counted before it speaks. Raises ApiError."""
        if asked is None or not (asked.entries or asked.dictionaries):
            return ()
        return await self._answered(lambda: self._find(asked.entries, asked.stored, text), param)

    async def stored(self, names: Sequence[DictionaryName], text: str, param: str) -> Chosen:
        """Raises ApiError."""
        return await self._answered(lambda: self._find((), names, text), param) if names else ()

    async def listed(self) -> tuple[list[Listed], dict[str, str]]:
        """All that can be used, as their files are now, and by name why a present file was refused."""
        return await _on_the_thread(self._list)

    async def found(self, name: str) -> Listed:
        """Raises ApiError."""
        return await self._answered(lambda: self._listed(name, self._kept(name).version), "id")

    async def add_lexicon(self, title: str, lexicon: bytes, owner: Owner) -> Listed:
        """Keeps W3C's XML as a new dictionary. Raises ApiError."""
        return await self._answered(lambda: self._add(title, ".pls", lexicon, owner), "file")

    async def add_rules(self, title: str, rules: list[dict[str, Any]], owner: Owner) -> Listed:
        """Keeps ElevenLabs' rules as a new dictionary. Raises ApiError."""
        data = json.dumps({"rules": rules}).encode()
        return await self._answered(lambda: self._add(title, ".json", data, owner), "rules")

    async def remove(self, name: str, owner: Owner) -> Listed:
        """What it was. Raises ApiError: only its owner may."""
        return await self._answered(lambda: self._remove(name, owner), "id")

    async def _answered(self, find: Callable[[], _Result], param: str) -> _Result:
        try:
            return await _on_the_thread(find)
        except UnknownDictionary as error:
            raise ApiError("unknown_dictionary", str(error), param=param) from error
        except ExpansionTooLong as error:
            raise ApiError(error.code, str(error), param=param) from error
        except BadPronunciation as error:
            raise ApiError("invalid_parameter", str(error), param=param) from error
        except OSError as error:
            raise ApiError("read_only", f"the folder of dictionaries cannot be used: {error.strerror}") from error

    # -- on the thread ---------------------------------------------------------------------------------------------

    def _find(self, entries: Sequence[PronunciationEntry], names: Sequence[DictionaryName], text: str) -> Chosen:
        own: Chosen = ()
        if entries:
            own = (_parsed(json.dumps([entry.model_dump(exclude_unset=True) for entry in entries])),)
        found = own + tuple(self._stored(one) for one in names)
        check_expansion(found, text, self._max_expanded)
        return found

    def _stored(self, one: DictionaryName) -> PronunciationDictionary:
        found = self._kept(one.name, one.version)
        assert self._owners is not None
        self._owners.used(one.name)
        return found

    def _kept(self, name: str, version: str | None = None) -> PronunciationDictionary:
        if self._store is None:
            raise UnknownDictionary(f"there is no pronunciation dictionary {name!r}; this server keeps none")
        try:
            return self._store.get(name, version)
        finally:
            self._tell(self._store.problems)

    def _add(self, title: str, suffix: str, data: bytes, owner: Owner) -> Listed:
        store, owners = self._writable()
        with _written():
            before = store.names()
            owners.forget_all_but(before)
            added = store.add(title, suffix, data, lambda: self._make_room(owner, before))
            if added.name not in before:
                owners.added(added.name, owner)
        return self._listed(added.name, added.version)

    def _make_room(self, owner: Owner, names: Sequence[str]) -> None:
        """Raises ApiError where there is none."""
        store, owners = self._writable()
        leaving = owners.room_for(owner, names)
        if leaving is not None:
            store.remove(leaving)
            owners.removed(leaving)
            log.info("dictionary_made_room", name=leaving)

    def _remove(self, name: str, owner: Owner) -> Listed:
        store, owners = self._writable()
        if not store.exists(name):
            store.get(name)  # raises, and says what there is
        if not owners.owns(owner, name):
            whose = "another client's" if owners.is_added(name) else "the operator's"
            raise ApiError(
                "read_only", f"dictionary {name!r} is {whose}; only the client that added one may remove it", param="id"
            )
        was = self._listed(name, self._kept(name).version)
        with _written():
            store.remove(name)
            owners.removed(name)
        return was

    def _writable(self) -> tuple[PronunciationStore, Owners]:
        if self._store is None or self._owners is None:
            message = "this server keeps no dictionaries: it was started without a folder for them"
            raise ApiError("read_only", message)
        return self._store, self._owners

    def _listed(self, name: str, version: str) -> Listed:
        assert self._store is not None
        assert self._owners is not None
        dictionary, changed_s = self._store.get(name, version), self._store.path(name).stat().st_mtime
        return Listed(
            name=name,
            version=dictionary.version,
            num_entries=dictionary.num_entries,
            changed_s=changed_s,
            is_added=self._owners.is_added(name),
        )

    def _list(self) -> tuple[list[Listed], dict[str, str]]:
        if self._store is None:
            return [], {}
        problems, found = self._store.reload(), []
        assert self._owners is not None
        self._owners.forget_all_but(self._store.names())
        for name in self._store.names():
            with contextlib.suppress(BadPronunciation, OSError):  # in `problems`, or gone meanwhile
                found.append(self._listed(name, "latest"))
        self._tell(problems)
        return found, problems

    def _tell(self, problems: dict[str, str]) -> None:
        """Once each: a file that was made worse is the operator's to mend, and no request fails for it."""
        for name, problem in problems.items():
            if self._told.get(name) != problem:
                log.warning("dictionary_refused", name=name, problem=problem)
        self._told = dict(problems)


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """The folder's own trouble, as a refusal."""
    try:
        yield
    except OSError as error:
        raise ApiError("read_only", f"the folder of dictionaries cannot be written: {error.strerror}") from error


@lru_cache(maxsize=64)
def _parsed(entries: str) -> PronunciationDictionary:
    return parse_dictionary({"entries": json.loads(entries)}, "request")


async def _on_the_thread(job: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(_THREAD, job)
