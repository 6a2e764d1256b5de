"""Pages that follow from the code are current, and every setting and error is explained."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from server.errors import KINDS
from server.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("page", ["configuration", "errors", "measurements/gpu-status"])
def test_the_page_is_current(generate: dict[str, Any], page: str) -> None:
    made = generate[Path(page).name.replace("-", "_")]
    assert (DOCS / f"{page}.md").read_text() == made(), "run `make docs`"


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_error_of_the_wire_page_is_in_the_table() -> None:
    listed = (DOCS / "wire.md").read_text().split("| error code |")[1].split("\n\n")[0]
    assert set(listed.split("`")[1::2]) <= set(KINDS)
