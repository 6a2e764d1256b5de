from __future__ import annotations

from pathlib import Path

import pytest

from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.random_checkpoint import write_random
from models.exporting.pocket.export import export


@pytest.fixture(scope="session")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the 1.9M size."""
    folder = tmp_path_factory.mktemp("pocket") / "2m"
    write_random(folder, releases.release("english_2m_2026-10"), ("alba", "marius"))
    return folder


@pytest.fixture(scope="session")
def bundle(smallest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that checkpoint, in int8."""
    folder = tmp_path_factory.mktemp("bundles") / "2m"
    export(files.read(str(smallest), ["alba", "marius"], "english_2m_2026-10"), folder)
    return folder
