"""Retired words, which `make lint` finds. The words of the field replace them: admit, reject, request, stream, client.

A word is listed for a folder once none is left in it, and for the whole repository once none is left anywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

RETIRED: dict[str, tuple[str, ...]] = {
    ".": ("bell", "deaf", "ledger", "lobby", "this is our fault", "throng", "timetable", "to be had"),
    "engines": ("in the works", "newcomers?", "somebody", "whoever"),
    "server": (
        "in the works", "newcomers?", "nobody", "no one", "sated", "shelf", "somebody", "the books", "whoever", "whom",
    ),
}  # fmt: skip
_ROOT = Path(__file__).resolve().parents[2]
_EXEMPT = ("docs/decisions/", "docs/measurements/", "engines/text/data/", "tests/text/", "tests/contracts/")
_SUFFIXES = {".c", ".h", ".html", ".js", ".md", ".py", ".toml", ".yaml", ".yml"}


def found(paths: Iterable[str]) -> Iterator[str]:
    """`path:line: word` of each, for paths from the root of the repository."""
    retired = {folder: re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE) for folder, words in RETIRED.items()}
    for path in paths:
        if path.startswith(_EXEMPT) or Path(path).suffix not in _SUFFIXES or not (_ROOT / path).is_file():
            continue
        here = [pattern for folder, pattern in retired.items() if folder == "." or path.startswith(f"{folder}/")]
        for number, line in enumerate((_ROOT / path).read_text().splitlines(), 1):
            yield from (f"{path}:{number}: {match[0]!r}" for pattern in here for match in pattern.finditer(line))


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=_ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


if __name__ == "__main__":
    lines = list(found(tracked()))
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.exit(f"{len(lines)} retired words; use the field's (tests/contracts/words.py)" if lines else 0)
