"""Paths on the command line. An empty one, as an unset variable of a script leaves it, is not the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.families.shipped import DEFAULT, bundle_folder


def path(given: str) -> Path:
    """For the `parser` of an option or argument, which its help names after this function."""
    if not given:
        raise typer.BadParameter("the path is empty; leave it out, or give one")
    return Path(given)


def bundle_path(given: str) -> Path:
    """As `path`, or the name of a voice that ships."""
    return bundle_folder(path(given))


BundlePath = Annotated[
    Path | None,
    typer.Option(
        parser=bundle_path, envvar="PARLANDO_BUNDLE", help=f"A model folder, or a voice that ships [{DEFAULT}]."
    ),
]
