"""Where a bundle goes, looked at before anything is fetched or read: no download of gigabytes ends in an error about a
folder. Nothing is written here.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from engines.runtime.memory import available_bytes
from models.exporting.errors import ExportError


def check_out(out: Path) -> None:
    """Raises where the folder exists, or none can be made there."""
    try:
        if out.exists() or out.is_symlink():
            raise ExportError(f"{out} exists already: name another folder (--out), or remove it")
        with tempfile.TemporaryFile(dir=_above(out)):  # what permissions say is not all that can stand against it
            pass
    except OSError as error:
        raise unwritable(out, error) from error


def check_room(out: Path, disk_bytes: int, memory_bytes: int) -> None:
    """Raises where disk or memory cannot be enough. What an export that broke off left counts as room."""
    above = _above(out)
    partial = partial_of(out)
    left = sum(path.stat().st_size for path in partial.iterdir()) if partial.is_dir() else 0
    free = shutil.disk_usage(above).free
    if free + left < disk_bytes:
        raise ExportError(f"the bundle takes {_gb(disk_bytes - left)}, {above} has {_gb(free)} free")
    available = available_bytes()
    if available is not None and available < memory_bytes:
        raise ExportError(f"the export takes {_gb(memory_bytes)} of memory, {_gb(available)} are available")


def partial_of(out: Path) -> Path:
    """Where an export that goes on later writes until it is whole."""
    return out.with_name(out.name + ".partial")


def unwritable(path: Path, error: OSError) -> ExportError:
    reason = error.strerror or str(error)
    return ExportError(f"{path} cannot be written ({reason}): make room there, or name another folder (--out)")


def _above(out: Path) -> Path:
    return next(path for path in out.absolute().parents if path.exists())


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
