"""The second `make serve`, where no package index can be reached."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from loadtests import leash
from tests.edge.conftest import free_port
from tests.install.checkout import NO_INDEX, copied, environment

WITHIN_S = 240.0


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_serve_starts_again_without_an_index(tmp_path: Path) -> None:
    """After a change of the code as well: what was changed is what is served."""
    checkout, port = copied(tmp_path / "checkout"), free_port()
    environment(checkout / ".venv")
    (checkout / ".venv/ready").touch()
    app = checkout / "server/http/ops.py"
    app.write_text(app.read_text().replace('{"status": "ok"}', '{"status": "changed"}'))
    command = ["make", "serve", f"PORT={port}", f"PYTHON={sys.executable}"]
    serving = leash.start(command, cwd=checkout, env=os.environ | NO_INDEX, start_new_session=True)
    gives_up_s = time.monotonic() + WITHIN_S
    try:
        while True:
            assert serving.poll() is None, "make serve ended"
            assert time.monotonic() < gives_up_s
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "changed"}
                break
            except httpx.TransportError:
                time.sleep(0.1)
    finally:
        if serving.poll() is None:
            os.killpg(serving.pid, signal.SIGTERM)
        serving.wait(60)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_nothing_is_installed_for_the_second_test_run(tmp_path: Path) -> None:
    checkout = copied(tmp_path)
    (checkout / ".venv-dev").mkdir()
    (checkout / ".venv-dev/ready").touch()
    done = subprocess.run(["make", "--dry-run", "test"], cwd=checkout, capture_output=True, text=True, check=True)
    assert "pytest" in done.stdout
    assert "pip" not in done.stdout
