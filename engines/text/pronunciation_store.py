"""Pronunciation dictionaries kept by name in a folder: NAME.json, one file each.

A file that has changed is read again when it is next asked for; a change that cannot be used is refused and the last
good one stays. Names are plain words, never paths. One store may be asked from several threads: what it hands out never
changes, and the worst of a race is reading a file twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from engines.text.errors import BadPronunciation, UnknownDictionary
from engines.text.pronunciation import PronunciationDictionary, parse_dictionary

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LATEST = (None, "", "latest")


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
        found = self._folder.glob("*.json") if self._folder.is_dir() else ()
        return sorted(path.stem for path in found if _NAME.fullmatch(path.stem))

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
            if not _NAME.fullmatch(name):
                raise FileNotFoundError(name)
            path = self._folder / f"{name}.json"
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if kept is not None and kept.stamp == stamp:
                return kept.dictionary
            data = path.read_bytes()
        except OSError as error:
            self._kept.pop(name, None)
            raise UnknownDictionary(
                f"there is no pronunciation dictionary {name!r}; there are: {', '.join(self.names()) or 'none'}"
            ) from error
        try:
            dictionary = parse_dictionary(_parsed(data, name), name)
        except BadPronunciation as error:
            if kept is None:
                raise
            self.problems[name] = str(error)
            self._kept[name] = _Kept(stamp=stamp, dictionary=kept.dictionary)
            return kept.dictionary
        self.problems.pop(name, None)
        self._kept[name] = _Kept(stamp=stamp, dictionary=dictionary)
        return dictionary


def _parsed(data: bytes, name: str) -> dict[str, object]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise BadPronunciation(f"dictionary {name!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadPronunciation(f'dictionary {name!r} must be an object with a list "entries"')
    return found
