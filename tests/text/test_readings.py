"""What is written and what is spoken: the golden table of the normaliser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engines.text import FrontEnd

FRONT_END = FrontEnd.load()
_ESCAPE = re.compile(r"\\(t|x[0-9a-f]{2}|u[0-9a-f]{4})")


def _rows(name: str) -> list[tuple[str, str]]:
    rows = []
    for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "\t" not in line:
            continue
        written, spoken = line.split("\t")
        written = _ESCAPE.sub(lambda match: "\t" if match[1] == "t" else chr(int(match[1][1:], 16)), written)
        rows.append((written, spoken))
    return rows


ROWS = _rows("readings.tsv")
PASSAGES = [(written.replace("\\n", "\n"), script) for written, script in _rows("passages.tsv")]


def test_table_is_large() -> None:
    assert len(ROWS) >= 300


@pytest.mark.parametrize(("written", "spoken"), ROWS, ids=[written for written, _ in ROWS])
def test_reading(written: str, spoken: str) -> None:
    assert FRONT_END.normalise(written) == spoken


@pytest.mark.parametrize(("written", "script"), PASSAGES, ids=[written[:40] for written, _ in PASSAGES])
def test_passage(written: str, script: str) -> None:
    assert FRONT_END.script(written) == script


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("One, two.", "PLAIN PLAIN PERIOD"),
        ("Dr. Smith went home.", "PLAIN PERIOD"),
        ("Mr. J. R. Smith vs. Mrs. Lee", "PLAIN PLAIN"),
        ("The U.S. is large. It is.", "PLAIN PERIOD PERIOD"),
        ("apples, pears, etc. are fruit", "PLAIN PLAIN PLAIN PLAIN"),
        ("at 5 p.m. They left", "PLAIN PERIOD PLAIN"),
        ("wait - no", "PLAIN PLAIN PLAIN"),
        ("yes—no", "PLAIN PLAIN PLAIN"),
        ("what?! no!", "PLAIN QUESTION EXCLAIM"),
        ("a title\n\nand text", "PLAIN PERIOD PLAIN"),
        ("one line\nand the next", "PLAIN PLAIN"),
        ("(in brackets) and out", "PLAIN PLAIN PLAIN"),
        ("pi is 3.14, e is 2.72", "PLAIN PLAIN PLAIN"),
        ("go to example.com. Now", "PLAIN PERIOD PLAIN"),
        ("the boys' toys", "PLAIN PLAIN"),
    ],
)
def test_pauses(text: str, kinds: str) -> None:
    found = [phone.pause.name for phone in FRONT_END.phones(text) if phone.pause is not None]
    assert found == kinds.split()
