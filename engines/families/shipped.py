"""The voices that ship, a bundle each."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SHIPPED = ("natural", "flite")
DEFAULT = SHIPPED[0]
_FOLDER = Path(str(resources.files("engines").joinpath("bundles")))


def bundle_folder(given: Path | None) -> Path:
    """A folder as it is, or a shipped voice by its name where there is no such folder; without either the default."""
    if given is None:
        return _FOLDER / DEFAULT
    is_name = len(given.parts) == 1 and not given.exists() and given.name in SHIPPED
    return _FOLDER / given.name if is_name else given
