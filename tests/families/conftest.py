from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.families.served import FamilyServer
from tests.gpu_graphs.checkpoints import write_pocket, write_qwen3_tts


@pytest.fixture(scope="package", params=["pocket", "qwen3_tts"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FamilyServer]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    bundle = (write_pocket if request.param == "pocket" else write_qwen3_tts)(folder)
    with FamilyServer(bundle) as running:
        yield running
