"""A published layout is read whole or refused with the file, the value and what would be right."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoints import safetensors
from models.checkpoints.errors import CheckpointError
from models.checkpoints.files import located, strict
from models.checkpoints.qwen3_tts.codec_config import CodecConfig
from models.checkpoints.qwen3_tts.config import ModelConfig
from models.checkpoints.qwen3_tts.reader import expected_codec_tensors, expected_tensors, read
from models.checkpoints.qwen3_tts.sizes import SIZES
from models.checkpoints.qwen3_tts.writer import write_checkpoint

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(qwen3_base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(qwen3_base, tmp_path / "copy")


def _edit(path: Path, change: Change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["base", "custom_voice", "voice_design"])
def test_each_kind_reads(tmp_path: Path, kind: str) -> None:
    write_checkpoint(tmp_path, SIZES["tiny"], kind)
    found = read(tmp_path)
    assert found.clones is (kind == "base")
    assert found.generation.top_k == 50
    hidden, logits, _ = found.talker()(torch.zeros(1, 3, 48))
    assert hidden.shape == (1, 3, 48)
    assert logits.shape == (1, 3, 64 + 1024)
    if kind != "base":
        with pytest.raises(CheckpointError, match=f"a {kind} checkpoint has no speaker encoder"):
            found.speaker_encoder()


@pytest.mark.parametrize(("size", "parameters"), [("0.6B", 0.9e9), ("1.7B", 1.9e9)])
def test_published_sizes_have_their_parameters(size: str, parameters: float) -> None:
    config = strict(SIZES[size].model("base"), ModelConfig, "config.json")
    found = sum(torch.Size(shape).numel() for shape in expected_tensors(config).values())
    assert found == pytest.approx(parameters, rel=0.06)
    codec = strict(SIZES[size].codec(), CodecConfig, "config.json")
    decoder = [torch.Size(shape).numel() for name, shape in expected_codec_tensors(codec).items() if "decoder." in name]
    assert sum(decoder) == pytest.approx(114.3e6, rel=0.01)


def test_shards_hold_what_one_file_holds(qwen3_base: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, SIZES["tiny"], "base")
    one, several = read(tmp_path).tensors, read(qwen3_base).tensors
    assert len(list(qwen3_base.glob("model-*.safetensors"))) > 2
    assert sorted(one.names()) == sorted(several.names())
    for name in one.names()[::17]:
        assert torch.equal(one.read(name), several.read(name))


def test_a_missing_shard_is_named(copy: Path) -> None:
    shard = sorted(copy.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"lacks {shard.name}, of . shards"):
        read(copy)


def test_a_truncated_file_names_its_tensor_and_bytes(copy: Path) -> None:
    path = copy / "speech_tokenizer" / "model.safetensors"
    whole = path.stat().st_size
    os.truncate(path, whole - 10)
    with pytest.raises(CheckpointError, match=rf"truncated: \S+ ends at byte {whole}, the file has {whole - 10}"):
        read(copy)
    os.truncate(path, 3)
    with pytest.raises(CheckpointError, match="truncated or no safetensors file: 3 bytes"):
        read(copy)


def _rewritten(folder: Path, change: Change) -> None:
    tensors = safetensors.Tensors.open(folder)
    values = {name: tensors.read(name, torch.bfloat16) for name in tensors.names()}
    change(values)
    for path in folder.glob("model*"):
        path.unlink()
    safetensors.write(folder / "model.safetensors", values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("talker.codec_head.weight"), "lacks tensors: talker.codec_head.weight"),
        (lambda t: t.update(extra=torch.zeros(1)), "has unknown tensors: extra"),
        (
            lambda t: t.update({"talker.codec_head.weight": torch.zeros(2, 3)}),
            r"talker.codec_head.weight in model.safetensors has shape \[2, 3\], the config asks for \[1088, 48\]",
        ),
        (
            lambda t: t.update({"talker.model.norm.weight": torch.zeros(48, dtype=torch.int64)}),
            "talker.model.norm.weight in model.safetensors has dtype I64, right is one of BF16, F16, F32",
        ),
    ],
)
def test_wrong_tensors_are_named(copy: Path, change: Change, message: str) -> None:
    _rewritten(copy, change)
    with pytest.raises(CheckpointError, match=message):
        read(copy)


def test_an_unknown_dtype_is_named(copy: Path) -> None:
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path = copy / "speech_tokenizer" / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0")
    with pytest.raises(CheckpointError, match=r"x in model\.safetensors has dtype F8_E4M3, this reader knows"):
        read(copy)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda c: c.update(model_type="qwen3"), "of model_type 'qwen3', right is 'qwen3_tts'"),
        ("config.json", lambda c: c.update(tts_model_type="x"), r"config.json.tts_model_type: Invalid enum value 'x'"),
        ("config.json", lambda c: c.update(moe=1), "config.json: Object contains unknown field `moe`"),
        (
            "config.json",
            lambda c: c["talker_config"].update(num_experts=4),
            "config.json.talker_config: Object contains unknown field `num_experts`",
        ),
        ("config.json", lambda c: c["talker_config"].pop("head_dim"), "missing required field `head_dim`"),
        (
            "config.json",
            lambda c: c["talker_config"].update(hidden_act="gelu"),
            "talker_config.hidden_act: Invalid enum",
        ),
        (
            "config.json",
            lambda c: c["talker_config"]["rope_scaling"].update(mrope_section=[1, 2, 3]),
            r"mrope_section \[1, 2, 3\] must add up to half of head_dim 16",
        ),
        (
            "config.json",
            lambda c: c["talker_config"]["codec_language_id"].update(english=5000),
            "id 5000 of english is beyond vocab_size 1088",
        ),
        ("config.json", lambda c: c["speaker_encoder_config"].update(enc_dim=9), "enc_dim 9 must be the talker's"),
        ("generation_config.json", lambda c: c.update(top_p=2.0), "generation_config.json.top_p: .* <= 1"),
        (
            "speech_tokenizer/config.json",
            lambda c: c["decoder_config"].update(upsample_rates=[8, 5]),
            "rates make 160 samples a frame, decode_upsample_rate says 1920",
        ),
        (
            "speech_tokenizer/config.json",
            lambda c: c["encoder_config"].update(extra=1),
            "speech_tokenizer/config.json.encoder_config: Object contains unknown field `extra`",
        ),
    ],
)
def test_wrong_fields_are_named(
    copy: Path, file: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _edit(copy / file, change)
    with pytest.raises(CheckpointError, match=message):
        read(copy)


def test_what_the_library_writes_on_its_own_is_no_unknown_field(copy: Path) -> None:
    written = {"_name_or_path": "", "torch_dtype": "bfloat16", "num_beams": 1, "id2label": {"0": "LABEL_0"}}
    _edit(copy / "config.json", lambda c: c["talker_config"]["code_predictor_config"].update(written))
    read(copy)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "vocab.json", "merges.txt"])
def test_missing_files_are_named(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(CheckpointError, match=f"lacks {file}"):
        read(copy)


def test_sources_are_folders_or_hub_names(tmp_path: Path) -> None:
    assert located(str(tmp_path)) == tmp_path
    with pytest.raises(CheckpointError, match="is no folder; right is a folder or hf://OWNER/NAME@REVISION"):
        located(str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match="hf://owner is no checkpoint's name"):
        located("hf://owner")
