"""Our networks beside the makers' own, in an environment of their pins (`make test-reference`); nothing is collected
where it is missing. Its package imports a browser interface and audio tools at its top: only its core is loaded."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.checkpoints.qwen3_tts.reader import CODEC_FOLDER, Checkpoint, read
from models.checkpoints.qwen3_tts.sizes import SIZES
from models.checkpoints.qwen3_tts.writer import write_checkpoint
from models.checkpoints.safetensors import Entry, Tensors

_WANTED = {"transformers": "4.57.3", "qwen_tts": "0.1.1"}


def _missing() -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    wrong = []
    for name, wanted in _WANTED.items():
        try:
            found = version(name.replace("_", "-"))
        except PackageNotFoundError:
            found = None
        if found != wanted:
            wrong.append(f"{name} {wanted} (found {found})")
    return wrong


MISSING = _missing()
collect_ignore_glob = ["test_qwen3_tts*.py"] if MISSING else []
if importlib.util.find_spec("transformers") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header() -> list[str]:
    return [f"reference tests are left out, they need {', '.join(MISSING)}: make test-reference"] if MISSING else []


def _stub(name: str, **members: Any) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(name, None)
    for member, value in members.items():
        setattr(module, member, value)
    sys.modules[name] = module


@pytest.fixture(scope="session")
def reference() -> types.SimpleNamespace:
    """The makers' classes."""
    from models.checkpoints.qwen3_tts.speaker_encoder import mel_filters

    found = importlib.util.find_spec("qwen_tts")
    assert found is not None
    assert found.submodule_search_locations is not None
    root = Path(found.submodule_search_locations[0])
    for package in ("qwen_tts", "qwen_tts.core", "qwen_tts.core.models", "qwen_tts.core.tokenizer_12hz"):
        _stub(package, __path__=[str(root.joinpath(*package.split(".")[1:]))])
    _stub("qwen_tts.inference", __path__=[str(root / "inference")])
    _stub("qwen_tts.inference.qwen3_tts_tokenizer", Qwen3TTSTokenizer=object)
    if importlib.util.find_spec("librosa") is None:
        _stub("librosa")
        _stub("librosa.filters", mel=lambda sr, n_fft, n_mels, fmin, fmax: mel_filters(n_mels, sr).numpy())
    import qwen_tts.core.models.configuration_qwen3_tts as configuration
    import qwen_tts.core.models.modeling_qwen3_tts as modeling
    import qwen_tts.core.tokenizer_12hz.configuration_qwen3_tts_tokenizer_v2 as codec_configuration
    import qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 as codec_modeling

    return types.SimpleNamespace(
        config=configuration.Qwen3TTSConfig,
        model=modeling.Qwen3TTSForConditionalGeneration,
        mel=modeling.mel_spectrogram,
        codec_config=codec_configuration.Qwen3TTSTokenizerV2Config,
        codec=codec_modeling.Qwen3TTSTokenizerV2Model,
    )


SIZE = os.environ.get("REFERENCE_SIZE", "tiny")  # or a published one, which takes minutes and 18 GB
GIVEN = os.environ.get("REFERENCE_CHECKPOINT")  # a folder with a checkpoint, in place of random ones


@pytest.fixture(scope="package", params=[GIVEN] if GIVEN else ["base", "custom_voice", "voice_design"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GIVEN:
        return Path(GIVEN)
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(folder, SIZES[SIZE], request.param, shard_bytes=1 << 30)
    return folder


class _Shared(Tensors):
    """Each tensor is in memory once, for their network and ours: the largest one does not fit twice."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        super().__init__(entries)
        self._values: dict[str, torch.Tensor] = {}

    def read(self, name: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        if name not in self._values:
            self._values[name] = super().read(name, dtype)
        return self._values[name]


@pytest.fixture(scope="package")
def checkpoint(folder: Path) -> Checkpoint:
    return replace(read(folder), tensors=_Shared.open(folder), codec_tensors=_Shared.open(folder / CODEC_FOLDER))


@pytest.fixture(scope="package")
def theirs(folder: Path, reference: types.SimpleNamespace, checkpoint: Checkpoint) -> Any:
    config = reference.config(**json.loads((folder / "config.json").read_text()))
    config._attn_implementation = "eager"
    return _filled(reference.model, config, checkpoint.tensors)


@pytest.fixture(scope="package")
def their_codec(folder: Path, reference: types.SimpleNamespace, checkpoint: Checkpoint) -> Any:
    config = reference.codec_config(**json.loads((folder / CODEC_FOLDER / "config.json").read_text()))
    config._attn_implementation = "eager"
    return _filled(reference.codec, config, checkpoint.codec_tensors)


def _filled(kind: Any, config: Any, tensors: Tensors) -> Any:
    with _parameters_without_values():
        module = kind(config)
    module.load_state_dict({name: tensors.read(name) for name in tensors.names()}, strict=True, assign=True)
    return module.eval()


@contextmanager
def _parameters_without_values() -> Iterator[None]:
    """Of modules that are made meanwhile; their buffers have values."""
    register = nn.Module.register_parameter

    def without(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        register(module, name, None if value is None else nn.Parameter(value.to("meta"), requires_grad=False))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nn.Module, "register_parameter", without)
        yield
