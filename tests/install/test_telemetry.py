"""ONNX Runtime's telemetry, which is on unless an environment variable is set before the import."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORTERS = {"engines/runtime/ort.py"}
SPEAKS = """
from engines.assemble import load_engine
from engines.families.phone_pointer.bundle import load_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.synth import speak
assert speak(load_engine(load_bundle(), EngineConfig(slots=1)), "Hello.").pcm
input()
"""
LETS_IT = "import onnxruntime; input()"
LOOKS_UP_S = 60  # it waits 9 s before its first lookup


@dataclass(slots=True, kw_only=True)
class Watched:
    """A Python process with an empty home that can reach no other machine."""

    process: subprocess.Popen[str]
    home: Path
    lookups: Path

    @classmethod
    def start(cls, program: str, place: Path, shim: Path) -> Watched:
        home, lookups = place / "home", place / "lookups"
        home.mkdir(parents=True)
        unset = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment |= {"HOME": str(home), "LD_PRELOAD": str(shim), "LOOKUPS": str(lookups)}
        process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, stdin=subprocess.PIPE, text=True
        )
        return cls(process=process, home=home, lookups=lookups)

    def traces(self) -> list[str]:
        """What it has left: files in its home, names looked up."""
        return ["files"] * bool(list(self.home.rglob("*"))) + ["lookups"] * self.lookups.exists()

    def end(self) -> int:
        self.process.communicate("\n", timeout=60)
        return self.process.returncode


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler for the library that watches lookups")
    library = tmp_path_factory.mktemp("shim") / "lookups.so"
    source = Path(__file__).with_name("lookups.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def test_no_file_is_written_and_no_name_is_looked_up(tmp_path: Path, shim: Path) -> None:
    """The engine lives as long as a process that lets the runtime do as it likes, until that leaves both its traces.

    Which of the two differs from machine to machine; where it leaves none, this test sees nothing and says so.
    """
    ours = Watched.start(SPEAKS, tmp_path / "ours", shim)
    free = Watched.start(LETS_IT, tmp_path / "free", shim)
    gives_up_s = time.monotonic() + LOOKS_UP_S
    while len(free.traces()) < 2 and free.process.poll() is None and time.monotonic() < gives_up_s:
        time.sleep(0.1)
    assert (free.end(), ours.end()) == (0, 0)
    assert ours.traces() == []
    if not free.traces():
        pytest.skip("a runtime that is let writes no file and looks up no name on this machine")


def test_the_runtime_is_imported_where_its_telemetry_is_off() -> None:
    """Also `speechmos`, which imports it by itself, comes after."""
    found = set()
    for folder in ("engines", "server", "models", "loadtests", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(r"^\s*(?:import|from) onnxruntime\b", path.read_text(), re.MULTILINE):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == IMPORTERS
    for name in IMPORTERS:
        text = (ROOT / name).read_text()
        assert 0 < text.find('os.environ["ORT_DISABLE_TELEMETRY"] = "1"') < text.find("\nimport onnxruntime")
    judge = (ROOT / "models/judge/__main__.py").read_text()
    assert 0 < judge.find("\nimport engines.runtime.ort") < judge.find("from speechmos import")
