"""What cloning needs, traced: a recording to a speaker embedding, and to the codec's frames."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from models.checkpoints.qwen3_tts.codec_encoder import CodecEncoder
from models.checkpoints.qwen3_tts.speaker_encoder import SpeakerEncoder
from models.export_vocoder import without_origin


class _WithCount(nn.Module):
    def __init__(self, encoder: CodecEncoder, count: int) -> None:
        super().__init__()
        self.encoder, self.count = encoder, count

    def forward(self, samples: Tensor) -> Tensor:
        return self.encoder(samples, self.count)


def export_speaker_encoder(encoder: SpeakerEncoder, path: Path) -> None:
    _traced(encoder, path, "embedding", unit=1)


def export_codec_encoder(encoder: CodecEncoder, count: int, hop: int, path: Path) -> None:
    """Takes whole frames alone: the caller leaves out a recording's last begun one."""
    _traced(_WithCount(encoder, count), path, "codes", unit=hop)


def _traced(module: nn.Module, path: Path, output: str, unit: int) -> None:
    samples = torch.zeros(1, 24 * max(unit, 1920))
    length = torch.export.Dim("units", min=2, max=24000 * 60 // unit)
    shape: dict[int, Any] = {1: unit * length if unit > 1 else length}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of changes inside torch itself
        program = torch.onnx.export(
            module.eval(),
            (samples,),
            input_names=["samples"],
            output_names=[output],
            dynamic_shapes=(shape,),
            dynamo=True,
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    without_origin(model)
    onnx.save(model, path)
