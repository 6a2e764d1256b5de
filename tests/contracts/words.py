"""Retired words, which `make lint` finds. The words of the field replace them: admit, reject, request, stream, client.

A word is listed for a folder once none is left in it, and for the whole repository once none is left anywhere.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

RETIRED: dict[str, tuple[str, ...]] = {
    ".": (
        "a turn of the loop", "bell", "casting", "deaf", "in the works", "ledger", "lm_turn", "lobby", "newcomers?",
        "nobody",
        "sated", "somebody", "text_turn", "the books", "this is our fault", "throng", "timetable", "to be had", "said",
        "vocoder_turn", "who is waited for", "whoever",
    ),
    "engines": ("anybody", "each turn", "every turn", "everybody", "no one", "picked"),
    "server": ("anybody", "each turn", "every turn", "everybody", "no one", "shelf", "whom"),
}  # fmt: skip
_ROOT = Path(__file__).resolve().parents[2]
_SPEAKS = ("tests/", "loadtests/", "models/")  # their strings are texts to speak
_EXEMPT = (
    "docs/decisions/",
    "docs/measurements/",
    "engines/text/data/",
    "tests/text/",
    "tests/contracts/",
    "models/checkpoints/pocket/tokens.py",
)
_SUFFIXES = {".c", ".h", ".html", ".js", ".md", ".py", ".toml", ".yaml", ".yml"}


def found(paths: Iterable[str]) -> Iterator[str]:
    """`path:line: word` of each, for paths from the root of the repository. Parts of names count."""
    retired = {
        folder: re.compile(rf"(?<![a-z])({'|'.join(words)})(?![a-z])", re.IGNORECASE)
        for folder, words in RETIRED.items()
    }
    for path in paths:
        if path.startswith(_EXEMPT) or Path(path).suffix not in _SUFFIXES or not (_ROOT / path).is_file():
            continue
        here = [pattern for folder, pattern in retired.items() if folder == "." or path.startswith(f"{folder}/")]
        text = (_ROOT / path).read_text()
        lines = _without_literals(text) if path.endswith(".py") and path.startswith(_SPEAKS) else text.splitlines()
        for number, line in enumerate(lines, 1):
            yield from (f"{path}:{number}: {match[0]!r}" for pattern in here for match in pattern.finditer(line))


def _without_literals(text: str) -> list[str]:
    """Lines without the strings of one line, which are texts to speak there; docstrings and comments stay."""
    lines = text.splitlines()
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(text).readline))):
        if token.type == tokenize.STRING and token.start[0] == token.end[0] and not token.string.startswith('"""'):
            row, (first, end) = token.start[0] - 1, (token.start[1], token.end[1])
            lines[row] = lines[row][:first] + lines[row][end:]
    return lines


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=_ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


if __name__ == "__main__":
    lines = list(found(tracked()))
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.exit(f"{len(lines)} retired words; use the field's (tests/contracts/words.py)" if lines else 0)
