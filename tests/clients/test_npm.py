"""Clients for Node: OpenAI's, ElevenLabs' and the AI SDK's. They are installed beside the Python ones, once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import TEXT, Server, native

SCRIPTS = Path(__file__).parent / "npm"
FOLDER = Path(sys.prefix) / "npm"
FLAGS = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")


@pytest.fixture(scope="module")
def folder() -> Path:
    """With the scripts and what they import. Skips where there is no Node, or no package index."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node and npm are not installed")
    shutil.copytree(SCRIPTS, FOLDER, dirs_exist_ok=True)
    installed = subprocess.run(
        ["npm", "install", *FLAGS], cwd=FOLDER, capture_output=True, text=True, timeout=110, check=False
    )
    if installed.returncode:
        pytest.skip(f"npm could not install the clients: {installed.stderr[-300:]}")
    return FOLDER


@pytest.mark.parametrize("client", ["openai", "elevenlabs", "ai_sdk"])
def test_a_client_hears_the_native_samples(server: Server, folder: Path, client: str) -> None:
    spoken = subprocess.run(
        ["node", f"{client}.mjs", server.url, TEXT], cwd=folder, capture_output=True, timeout=60, check=False
    )
    assert spoken.returncode == 0, spoken.stderr.decode()
    assert spoken.stdout == native(server)
