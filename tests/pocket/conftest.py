from __future__ import annotations

from pathlib import Path

import pytest

from models.checkpoints.pocket import releases
from models.checkpoints.pocket.random_checkpoint import write_random


@pytest.fixture(scope="session")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the 1.9M size."""
    folder = tmp_path_factory.mktemp("pocket") / "2m"
    write_random(folder, releases.release("english_2m_2026-10"), ("alba", "marius"))
    return folder
