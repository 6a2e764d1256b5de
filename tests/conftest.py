"""What holds for every test: no time limit on single examples, since a busy machine would decide; no telemetry of
libraries that bring ONNX Runtime with them, as clients do; servers speak with Flite's voices, which tests name; and
SIGHUP ends what it should, also where the run was started with `nohup`, whose children ignore it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("PARLANDO_BUNDLE", "flite")
signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from engines.families.phone_pointer.bundle import Bundle

settings.register_profile("parlando", deadline=None)
settings.load_profile("parlando")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole trainings first: begun last, one of them keeps every other process of the run waiting."""
    items.sort(key=lambda item: "voice" not in item.path.parts)


@pytest.fixture(scope="session")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small bundle whose vocoder sees the text. Written with torch, so only where a test asks for it."""
    from tests.engine.seeing import write_seeing

    return write_seeing(tmp_path_factory.mktemp("seeing"))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a processor's backend has loaded each graph, by its file's name."""
    from engines.runtime import onnx_cpu  # not where clients are tested, whose environment has no engine

    counts, load = Counter[str](), onnx_cpu._session

    def counted(path: Path, *how: Any) -> Any:
        counts[path.name] += 1
        return load(path, *how)

    monkeypatch.setattr(onnx_cpu, "_session", counted)
    return counts
