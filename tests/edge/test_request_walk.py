"""One utterance's walk through the files grows only on purpose (docs/architecture.md has the count)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST = 88  # 85 measured; three more are a matter of timing


def test_the_walk_has_the_files_that_the_page_says() -> None:
    command = [sys.executable, "-m", "tests.edge.request_walk"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    files = {line for line in printed if line.startswith(("server/", "engines/")) and line.endswith(".py")}
    assert {"engines/engine.py", "server/speech/utterance.py", "engines/text/stream.py"} <= files
    assert len(files) <= MOST, "the walk has grown: take a hop away, or say in docs/architecture.md why it stays"
    assert f"{MOST} at most" in (ROOT / "docs/architecture.md").read_text()
