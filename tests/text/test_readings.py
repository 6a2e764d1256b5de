"""What is written and what is spoken: the golden table of the normaliser."""

from __future__ import annotations

import re
from collections import Counter
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


def _rows_of_kinds() -> Counter[str]:
    """How many rows stand below each `# kind: NAME`; one kind may have several sections."""
    counts = Counter[str]()
    for table in ("readings.tsv", "passages.tsv"):
        kind = ""
        for line in (Path(__file__).parent / table).read_text(encoding="utf-8").splitlines():
            if line.startswith("# ") and "\t" not in line:
                kind = line.removeprefix("# kind: ") if line.startswith("# kind: ") else ""
            elif kind:
                counts[kind] += 1
    homographs = (Path(__file__).parent / "homographs.tsv").read_text(encoding="utf-8").splitlines()
    counts["homographs"] = sum(not line.startswith("#") for line in homographs)
    return counts


KINDS = {
    "units and amounts": ["unit symbols", "separators", "scales", "counts", "before a noun", "ranges", "slashes"],
    "identifiers": ["codes", "names in digits", "powers of ten", "phone numbers"],
    "signs": ["signs", "inch marks", "notes and grades", "currency signs", "glued signs", "other scripts"],
    "markup": ["reasoning", "spelled and said", "tags", "directions", "breaks"],
    "words": ["homographs", "abbreviations", "addresses", "numerals", "mixed capitals", "broken words", "states"],
    "layout": ["lists and headings"],
}
ROWS = _rows("readings.tsv")
PASSAGES = [(written.replace("\\n", "\n"), script) for written, script in _rows("passages.tsv")]


def test_table_is_large() -> None:
    assert len(ROWS) >= 300


def test_every_kind_has_its_cases() -> None:
    counts = _rows_of_kinds()
    kinds = [kind for group in KINDS.values() for kind in group]
    assert {kind: counts[kind] for kind in kinds if counts[kind] < 15} == {}
    assert sorted(counts) == sorted(kinds)


@pytest.mark.parametrize(("written", "spoken"), ROWS, ids=[written for written, _ in ROWS])
def test_reading(written: str, spoken: str) -> None:
    assert FRONT_END.normalise(written) == spoken


def test_readings_are_the_same_in_pieces() -> None:
    for written, _ in ROWS + PASSAGES:
        whole, stream = FRONT_END.open(), FRONT_END.open()
        phones = whole.append(written) + whole.end()
        pieces = [written[at : at + 3] for at in range(0, len(written), 3)]
        assert [phone for piece in pieces for phone in stream.append(piece)] + stream.end() == phones, written


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
