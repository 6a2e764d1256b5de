"""What a session on a GPU is asked for; one that does something else is refused. No GPU is needed to see it."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("torch", reason="the measurements need torch")
pytest.importorskip("onnx", reason="the measurements need onnx")

from loadtests.gpu import ort_session
from loadtests.gpu.onnx_graphs import GraphWriter
from loadtests.gpu.setting import Setting, Skipped

SETTING = Setting(device="cuda", is_tiny=True, deadline_s=time.monotonic() + 1e6)


class Session:
    """Remembers what it was made with; says about itself what the test wants."""

    providers = (ort_session.CUDA_PROVIDER, ort_session.CPU_PROVIDER)
    captures = "1"
    made_with: dict[str, Any]

    def __init__(self, model: bytes, options: Any, **settings: Any) -> None:
        type(self).made_with = settings

    def get_providers(self) -> list[str]:
        return list(self.providers)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {ort_session.CUDA_PROVIDER: {"enable_cuda_graph": self.captures}}


def _open(monkeypatch: pytest.MonkeyPatch, kind: type[Session], **settings: Any) -> Any:
    import torch

    monkeypatch.setattr(ort_session.onnxruntime, "InferenceSession", kind)
    monkeypatch.setattr(ort_session.onnxruntime, "get_available_providers", lambda: list(Session.providers))
    return ort_session.open_session(GraphWriter(torch.float32).model(), SETTING, **settings)


def test_a_captured_session_asks_for_capture_a_stream_and_no_silent_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    _open(monkeypatch, Session, is_captured=True, stream=94_000)
    (name, options), fallback = Session.made_with["providers"]
    assert (name, fallback) == (ort_session.CUDA_PROVIDER, ort_session.CPU_PROVIDER)
    assert options == {"device_id": "0", "enable_cuda_graph": "1", "user_compute_stream": "94000"}
    assert Session.made_with["enable_fallback"] == 0


def test_a_session_that_captures_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Plain", (Session,), {"captures": "0"})
    assert _open(monkeypatch, kind)
    with pytest.raises(RuntimeError, match="captures nothing"):
        _open(monkeypatch, kind, is_captured=True)


def test_a_session_on_the_cpu_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Fallen", (Session,), {"providers": (ort_session.CPU_PROVIDER,)})
    monkeypatch.setattr(ort_session, "provider_library", lambda: None)
    with pytest.raises(RuntimeError, match="fell back to CPUExecutionProvider: the package has no CUDA provider"):
        _open(monkeypatch, kind)


def test_a_package_without_cuda_skips_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_session.onnxruntime, "get_available_providers", lambda: [ort_session.CPU_PROVIDER])
    with pytest.raises(Skipped, match="onnxruntime-gpu is needed"):
        ort_session.require_provider(SETTING)
