"""Pronunciation dictionaries kept by name in a folder: NAME.json or NAME.pls, one file each.

A file that has changed is read again when it is next asked for; a change that cannot be used is refused and the last
good one stays. Names are plain words, never paths. One store may be asked from several threads: what it hands out never
changes, and the worst of a race is reading a file twice. Only `add` and `remove` write, one at a time, and never over a
file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.text.errors import BadPronunciation, UnknownDictionary
from engines.text.pls import pls_entries
from engines.text.pronunciation import PronunciationDictionary, parse_dictionary

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LATEST = (None, "", "latest")
_SUFFIXES = (".json", ".pls")  # the first that is there counts
_SHOWN = 20  # names, where one is not there
_UNNAMED = re.compile(r"[^A-Za-z0-9_-]+")
MAX_STORED = 256  # that callers may add to
MAX_FILE_BYTES = 8 * 2**20  # some 100,000 entries, of which 10,000 are taken


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    stamp: tuple[int, int]  # modified, bytes
    dictionary: PronunciationDictionary


class PronunciationStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, _Kept] = {}
        self.problems: dict[str, str] = {}  # name -> why its present file was refused

    def names(self) -> list[str]:
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        named = (path for path in found if path.suffix in _SUFFIXES and _NAME.fullmatch(path.stem))
        return sorted({path.stem for path in named if path.is_file()})

    def path(self, name: str) -> Path:
        """The file of a dictionary. Raises FileNotFoundError."""
        for suffix in _SUFFIXES if _NAME.fullmatch(name) else ():
            if (path := self._folder / f"{name}{suffix}").is_file():
                return path
        raise FileNotFoundError(name)

    def exists(self, name: str) -> bool:
        return name in self.names()

    def add(
        self, title: str, suffix: str, data: bytes, make_room: Callable[[], None] = lambda: None
    ) -> PronunciationDictionary:
        """Keeps a new dictionary under a name made of `title`; the same content under the same name is there already.

        `make_room` is asked before a file is written, and may refuse. Raises BadPronunciation, or OSError when the
        folder cannot be written.
        """
        stem = _UNNAMED.sub("-", title).strip("-_")[:48] or "dictionary"
        wanted = parse_dictionary(_parsed(data, suffix, stem), stem)
        names = self.names()
        for name in (stem, *(f"{stem}-{number}" for number in range(2, MAX_STORED + 2))):
            if name not in names:
                break
            with contextlib.suppress(BadPronunciation):
                if (kept := self.get(name)).version == wanted.version:
                    return kept
        make_room()
        names = self.names()
        if len(names) >= MAX_STORED:
            raise BadPronunciation(f"{len(names)} dictionaries are kept, the limit is {MAX_STORED}; remove some files")
        begun = self._folder / f".{name}{suffix}"
        begun.write_bytes(data)
        os.replace(begun, self._folder / f"{name}{suffix}")
        return self.get(name)

    def remove(self, name: str) -> None:
        """Raises UnknownDictionary, or OSError when the folder cannot be written."""
        try:
            self.path(name).unlink()
        except FileNotFoundError as error:
            raise self._unknown(name) from error
        self._kept.pop(name, None)
        self.problems.pop(name, None)

    def get(self, name: str, version: str | None = None) -> PronunciationDictionary:
        """The dictionary as its file is now; `version` None or "latest" takes any. Raises BadPronunciation."""
        found = self._current(name)
        if version not in _LATEST and version != found.version:
            raise UnknownDictionary(
                f"dictionary {name!r} has version {found.version!r}, not {version!r}; leave it out for the latest"
            )
        return found

    def reload(self) -> dict[str, str]:
        """Reads every file that has changed, forgets those that are gone; returns name -> problem."""
        for name in self._kept.keys() - set(self.names()):
            self._kept.pop(name, None)
        self.problems = {name: problem for name, problem in self.problems.items() if name in self.names()}
        for name in self.names():
            try:
                self._current(name)
            except BadPronunciation as error:
                self.problems[name] = str(error)
        return dict(self.problems)

    def _current(self, name: str) -> PronunciationDictionary:
        kept = self._kept.get(name)
        try:
            path = self.path(name)
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if kept is not None and kept.stamp == stamp:
                return kept.dictionary
            data = path.read_bytes() if status.st_size <= MAX_FILE_BYTES else b""
        except FileNotFoundError as error:
            self._kept.pop(name, None)
            raise self._unknown(name) from error
        except OSError as error:
            self._kept.pop(name, None)
            raise BadPronunciation(f"dictionary {name!r} cannot be read: {error.strerror}") from error
        try:
            if status.st_size > MAX_FILE_BYTES:
                raise BadPronunciation(f"dictionary {name!r} has {status.st_size} bytes, the limit is {MAX_FILE_BYTES}")
            dictionary = parse_dictionary(_parsed(data, path.suffix, name), name)
        except BadPronunciation as error:
            if kept is None:
                raise
            self.problems[name] = str(error)
            self._kept[name] = _Kept(stamp=stamp, dictionary=kept.dictionary)
            return kept.dictionary
        self.problems.pop(name, None)
        self._kept[name] = _Kept(stamp=stamp, dictionary=dictionary)
        return dictionary

    def _unknown(self, name: str) -> UnknownDictionary:
        names = self.names()
        there = ", ".join(names[:_SHOWN]) or "none"
        there += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return UnknownDictionary(f"there is no pronunciation dictionary {name!r}; there are: {there}")


def _parsed(data: bytes, suffix: str, name: str) -> dict[str, object]:
    if suffix == ".pls":
        try:
            return {"entries": pls_entries(data)}
        except BadPronunciation as error:
            raise BadPronunciation(f"dictionary {name!r}: {error}") from error
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadPronunciation(f"dictionary {name!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadPronunciation(f'dictionary {name!r} must be an object with a list "entries"')
    return found
