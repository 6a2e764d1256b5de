"""parlando behind Ray Serve: a redeploy and an autoscaler's 1 -> 2 -> 1 cut no reply.

`make test-ray` makes the environment, which has Ray and parlando; RAY_PYTHON names another one's interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.tools import DEPLOY

ROOT = DEPLOY.parent
PYTHON = Path(os.environ.get("RAY_PYTHON", ROOT / ".venv-ray/bin/python"))
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="Ray is not installed here; `make test-ray` installs it"),
    pytest.mark.slow,
]


def drill(*asked: str) -> Any:
    command = [str(PYTHON), "-m", "tests.deployment.ray_drill", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3_000:]
    (found,) = (line for line in done.stdout.splitlines() if line.startswith('{"drill"'))  # Ray talks there, too
    return json.loads(found)


@pytest.mark.timeout(1_000)
def test_a_redeploy_cuts_no_stream() -> None:
    assert drill("redeploy", "--streams", "6", "--seconds", "15")["cut"] == 0


@pytest.mark.timeout(1_000)
def test_an_autoscaler_cuts_no_stream() -> None:
    found = drill("autoscale", "--streams", "6", "--seconds", "30")
    assert (found["cut"], found["replicas"][0], max(found["replicas"]), found["replicas"][-1]) == (0, 1, 2, 1)
