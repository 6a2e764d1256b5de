"""An export in parts: each is written, checked and noted before the next, so one that broke off goes on where it was.

OUT.partial/             until the manifest is written, which is last; then moved to OUT
OUT.partial/parts.json   of each finished part: its result and its seconds, valid for one source and one set of options
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.exporting.destination import check_out, partial_of, unwritable
from models.exporting.errors import ExportError

_NOTES, _MANIFEST = "parts.json", "manifest.json"


class Parts:
    def __init__(self, out: Path, source: str, say: Callable[[str], None]) -> None:
        """`source`: a digest of all that the parts depend on."""
        check_out(out)
        self.folder, self._out, self._say = partial_of(out), out, say
        self._notes: dict[str, Any] = {"source": source, "parts": {}}
        try:
            found = self._noted()
            if found.get("source") == source:
                self._notes = found
            elif self.folder.exists():
                say(f"{self.folder} is of another checkpoint or other options: begun anew")
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _noted(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / _NOTES).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def do(self, name: str, work: Callable[[], Any]) -> Any:
        """`work`'s result (what JSON can hold), now or from the run that broke off."""
        done = self._notes["parts"]
        if name in done:
            self._say(f"{name}: done before")
            return done[name]["result"]
        began = time.monotonic()
        self._say(f"{name} ...")
        try:
            result = work()
            seconds = round(time.monotonic() - began, 1)
            done[name] = {"result": result, "seconds": seconds}
            self._write(_NOTES, json.dumps(self._notes, indent=2))
        except OSError as error:
            raise unwritable(self.folder, error) from error
        except (MemoryError, RuntimeError) as error:  # torch and the runtime raise the latter where memory ends
            raise ExportError(f"{name} failed: {str(error) or 'out of memory'}") from error
        self._say(f"{name}: {seconds} s")
        return result

    def seconds(self) -> dict[str, float]:
        return {name: part["seconds"] for name, part in self._notes["parts"].items()}

    def finish(self, manifest: dict[str, Any]) -> None:
        """Hashes all files and moves the bundle to its place. The notes go last: what ends before that goes on here."""
        try:
            ours = {_MANIFEST, _NOTES, *map(_new, (_MANIFEST, _NOTES))}
            names = sorted({path.name for path in self.folder.iterdir()} - ours)
            manifest["files"] = {name: _sha256(self.folder / name) for name in names}
            self._write(_MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False))
            os.replace(self.folder, self._out)
            for name in (_NOTES, _new(_NOTES), _new(_MANIFEST)):
                (self._out / name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._out, error) from error

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all."""
        (self.folder / _new(name)).write_text(text, encoding="utf-8")
        os.replace(self.folder / _new(name), self.folder / name)


def _new(name: str) -> str:
    return f"{name}.new"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
