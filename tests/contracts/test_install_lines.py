"""Nothing installs parlando by name: on the public index that name is a stranger's. We offer a checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BY_NAME = re.compile(r"(install|uvx|pipx run)\s[^`\n]*?(?<![\w./-])['\"]?parlando(\[|['\"]|\s*$|==|>=)", re.MULTILINE)
SPOKEN = ("tests/text/", "tests/contracts/")  # texts to read aloud


def test_no_page_and_no_error_installs_a_stranger() -> None:
    assert BY_NAME.search("pip install 'parlando[export]'")
    assert BY_NAME.search("pip install parlando\n")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for name in listed.splitlines():
        if Path(name).suffix in (".md", ".py", ".txt", ".toml", ".yaml", ".html") and not name.startswith(SPOKEN):
            path = ROOT / name
            found += [f"{name}: {one[0]}" for one in BY_NAME.finditer(path.read_text())] if path.is_file() else []
    assert not found
