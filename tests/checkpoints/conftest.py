from __future__ import annotations

from pathlib import Path

import pytest

from models.checkpoints.qwen3_tts.sizes import SIZES
from models.checkpoints.qwen3_tts.writer import write_checkpoint


@pytest.fixture(scope="session")
def qwen3_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that clones, in several shards. Tests that write use a copy."""
    folder = tmp_path_factory.mktemp("qwen3_base")
    write_checkpoint(folder, SIZES["tiny"], "base", shard_bytes=100_000)
    return folder


@pytest.fixture(scope="session")
def qwen3_custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with named speakers."""
    folder = tmp_path_factory.mktemp("qwen3_custom")
    write_checkpoint(folder, SIZES["tiny"], "custom_voice")
    return folder
