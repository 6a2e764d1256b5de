"""The voices that ship, a bundle each."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SHIPPED = ("flite",)
DEFAULT = SHIPPED[0]
_FOLDER = Path(str(resources.files("engines").joinpath("bundles")))


def default_bundle() -> Path:
    return _FOLDER / DEFAULT


def bundle_folder(given: Path) -> Path:
    """A folder as it is, or a shipped voice by its name where there is no such folder."""
    is_name = len(given.parts) == 1 and not given.exists() and given.name in SHIPPED
    return _FOLDER / given.name if is_name else given
