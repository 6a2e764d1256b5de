"""What serving must not carry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_serving_process_has_neither_torch_nor_models() -> None:
    program = (
        "import sys\n"
        "from server.settings import Settings\n"
        "from server.app import create_app\n"
        "import server.cli, server.serve_command, server.serving, server.engine.worker\n"
        "from engines.assemble import load_engine\n"
        "from engines.families.phone_pointer.bundle import load_bundle\n"
        "from engines.config import EngineConfig\n"
        "from engines.synth import speak\n"
        "create_app(Settings())\n"
        "assert speak(load_engine(load_bundle(), EngineConfig(slots=1)), 'Hello.').pcm\n"
        "bad = sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'models', 'onnx'})\n"
        "sys.exit(f'imported: {bad}' if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_engines_are_started_before_anything_large_is_imported() -> None:
    program = (
        "import sys\n"
        "import server.__main__, server.serve_command\n"
        "large = {'fastapi', 'uvicorn', 'numpy', 'onnxruntime', 'av', 'engines.text', 'server.cli', 'server.app'}\n"
        "bad = sorted(set(sys.modules) & large)\n"
        "sys.exit(f'imported: {bad}' if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_folder_under_tests_shadows_a_package() -> None:
    assert not {path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()} & {"server", "engines", "models"}


def test_load_tests_are_strangers() -> None:
    for path in (ROOT / "loadtests").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(
                ("from server", "from engines", "from models", "import server", "import engines")
            )
