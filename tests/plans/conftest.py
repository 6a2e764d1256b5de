from __future__ import annotations

import pytest

from engines.families.bundle import Bundle as AnyBundle


@pytest.fixture(scope="session")
def qwen3_tts(tmp_path_factory: pytest.TempPathFactory) -> AnyBundle:
    pytest.importorskip("torch", reason="a bundle of Qwen3-TTS is exported by torch")
    from tests.gpu_graphs.checkpoints import write_qwen3_tts

    return write_qwen3_tts(tmp_path_factory.mktemp("qwen3_tts"))


@pytest.fixture(scope="session")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> AnyBundle:
    for package in ("torch", "sentencepiece"):
        pytest.importorskip(package, reason=f"a bundle of pocket-tts is exported by {package}")
    from tests.gpu_graphs.checkpoints import write_pocket

    return write_pocket(tmp_path_factory.mktemp("pocket"))
