"""Paths on the command line. An empty one, as an unset variable of a script leaves it, is not the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def path(given: str) -> Path:
    """For the `parser` of an option or argument, which its help names after this function."""
    if not given:
        raise typer.BadParameter("the path is empty; leave it out, or give one")
    return Path(given)


BundlePath = Annotated[Path | None, typer.Option(parser=path, help="A model folder; without it the shipped voice.")]
