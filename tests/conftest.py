"""What holds for every test: no time limit on single examples, since a busy machine would decide, and no telemetry of
libraries that bring ONNX Runtime with them, as clients do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from engines.families.phone_pointer.bundle import Bundle

settings.register_profile("parlando", deadline=None)
settings.load_profile("parlando")


@pytest.fixture(scope="session")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small bundle whose vocoder sees the text. Written with torch, so only where a test asks for it."""
    from tests.engine.seeing import write_seeing

    return write_seeing(tmp_path_factory.mktemp("seeing"))
