"""An export in parts: each is written, checked and noted before the next, so one that broke off goes on where it was.

OUT.partial/             until the manifest is written, which is last
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

from models.exporting.errors import ExportError

_NOTES = "parts.json"


class Parts:
    def __init__(self, out: Path, source: str, say: Callable[[str], None]) -> None:
        """`source`: a digest of all that the parts depend on."""
        if out.exists():
            raise ExportError(f"{out} exists; right is a folder that the export makes")
        self.folder, self._out, self._say = out.with_name(out.name + ".partial"), out, say
        self._notes: dict[str, Any] = {"source": source, "parts": {}}
        notes = self.folder / _NOTES
        if notes.is_file():
            found = json.loads(notes.read_text())
            if found.get("source") == source:
                self._notes = found
            else:
                say(f"{self.folder} is of another checkpoint or other options: begun anew")
                shutil.rmtree(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"{self.folder} cannot be made: {error}") from error

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
        except OSError as error:
            raise ExportError(f"{name} cannot be written to {self.folder}: {error}") from error
        except (MemoryError, RuntimeError) as error:  # torch and the runtime raise the latter where memory ends
            raise ExportError(f"{name} failed: {str(error) or 'out of memory'}") from error
        seconds = round(time.monotonic() - began, 1)
        done[name] = {"result": result, "seconds": seconds}
        partial = self.folder / f"{_NOTES}.new"
        partial.write_text(json.dumps(self._notes, indent=2))
        os.replace(partial, self.folder / _NOTES)
        self._say(f"{name}: {seconds} s")
        return result

    def seconds(self) -> dict[str, float]:
        return {name: part["seconds"] for name, part in self._notes["parts"].items()}

    def finish(self, manifest: dict[str, Any]) -> None:
        """Hashes all files and moves the bundle to its place."""
        (self.folder / _NOTES).unlink()
        names = sorted(path.name for path in self.folder.iterdir())
        manifest["files"] = {name: _sha256(self.folder / name) for name in names}
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False))
        os.replace(self.folder, self._out)


def check_room(out: Path, disk_bytes: int, memory_bytes: int) -> None:
    """Raises before anything is written where disk or memory cannot be enough."""
    parent = next(path for path in [out, *out.parents] if path.is_dir())
    free = shutil.disk_usage(parent).free
    if free < disk_bytes:
        raise ExportError(f"the bundle takes {_gb(disk_bytes)}, {parent} has {_gb(free)} free")
    available = available_memory_bytes()
    if available is not None and available < memory_bytes:
        raise ExportError(f"the export takes {_gb(memory_bytes)} of memory, {_gb(available)} are available")


def available_memory_bytes() -> int | None:
    """None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = {line.split(":")[0]: line.split() for line in lines}
    return int(found["MemAvailable"][1]) * 1024 if "MemAvailable" in found else None


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
