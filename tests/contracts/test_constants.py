"""No tuning constant in seconds, streams or rows: what depends on a machine is in the device profile and the settings.

A constant is found by its name (`_S`, `_ROWS`, `_STREAMS`) or by the unit that its comment names.
"""

from __future__ import annotations

import re
from pathlib import Path

ENGINES = Path(__file__).parents[2] / "engines"
PROFILE = {"config.py", "measuring.py", "scheduling/device_profile.py"}
_CONSTANT = re.compile(r"^(_?[A-Z][A-Z0-9_]*)(?:: [^=]*)? = [-(]?[0-9.][^#\n]*(?:# *(.*))?$", re.MULTILINE)
_UNIT = re.compile(r"\b(seconds?|streams?|rows?|ms|milliseconds?)\b")
NO_TUNING = {
    "LEAST_RETRY_S": "what HTTP can say",
    "_FADE_S": "a length of audio",
    **dict.fromkeys(("URGENT", "LOW_WATER", "_CHUNK_LEADS", "_FRESH"), "in frames"),
}


def constants(path: Path) -> set[str]:
    found = _CONSTANT.findall(path.read_text())
    return {
        name for name, comment in found if re.search(r"_(S|ROWS|STREAMS)$", name) or _UNIT.search(comment.split(":")[0])
    }


def test_machines_are_described_in_one_place() -> None:
    core = [path for room in (".", "scheduling") for path in (ENGINES / room).glob("*.py")]
    found = {name for path in core if str(path.relative_to(ENGINES)) not in PROFILE for name in constants(path)}
    assert found - NO_TUNING.keys() == set()


def test_the_search_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text("_WAIT_S = 0.1\n_MOST = 64  # rows of a call\nURGENT = 3  # a lead in frames\nNAME = 'rows'\n")
    assert constants(path) == {"_WAIT_S", "_MOST"}
