"""A copy of what the repository holds, to build and install from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# `make` and pip are given an index that answers nothing, and no other configuration.
NO_INDEX = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "0"}


def copied(to: Path) -> Path:
    """Tracked files, and new ones that would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name.startswith(("docs/", "tests/")) or not (ROOT / name).is_file():
            continue
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    return to


def environment(at: Path) -> Path:
    """A virtual environment with all packages that this one has, but parlando."""
    subprocess.run([sys.executable, "-m", "venv", str(at)], check=True)
    (site,) = at.glob("lib/python*/site-packages")
    shutil.rmtree(site / "setuptools", ignore_errors=True)  # an old one that `venv` brings
    (site / "shared.pth").write_text("\n".join(one for one in sys.path if one.endswith("site-packages")))
    return at / "bin"
