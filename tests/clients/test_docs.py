"""Every snippet of docs/clients.md runs as it stands, but for the port."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import Server

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
SNIPPETS = dict(re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
REQUIREMENTS = (Path(__file__).parent / "requirements.txt").read_text()


@pytest.mark.parametrize("title", SNIPPETS)
def test_a_snippet_runs(natural_server: Server, title: str) -> None:
    code = SNIPPETS[title].replace("localhost:8000", f"localhost:{natural_server.port}")
    code = code.replace('"localhost", 10200', f'"127.0.0.1", {natural_server.wyoming_port}')
    assert code != SNIPPETS[title]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if title == "parlando.v1":
        printed = re.fullmatch(r"spoken: (.+) \| remaining: (.+)\n", done.stdout)
        assert printed is not None, done.stdout
        assert " ".join("".join(printed.groups()).split()).endswith("the listener interrupts.")


def test_all_are_there_in_the_versions_that_are_tested() -> None:
    assert set(SNIPPETS) == {
        "OpenAI",
        "OpenAI Realtime",
        "ElevenLabs",
        "Cartesia",
        "Deepgram",
        "Pipecat",
        "LiveKit",
        "Wyoming",
        "parlando.v1",
    }
    for name, version in re.findall(r"^([a-z-]+)[^=]*==([\d.]+)$", REQUIREMENTS, re.MULTILINE):
        if not name.startswith("pytest") and name not in ("livekit-agents", "schemathesis"):
            assert re.search(rf"{name}.*\| {re.escape(version)} \|", PAGE), f"{name} {version}"
