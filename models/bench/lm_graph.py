"""Writes a speech LM of any shape with random weights, for speed alone: python -m models.bench.lm_graph FILE.onnx

It is the exporter's own graph. Needs torch; timing it does not, see `models.bench.lm_step`. Speed does not depend on
the values of the weights, only on their number and type.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import onnx
import torch

from engines.text import NUM_PHONE_IDS
from models.export import lm_graph
from models.fold_lm import folded
from models.speech_lm import LmConfig, SpeechLm


def describe(network: SpeechLm) -> dict[str, int]:
    """The shape as `models.bench.lm_step` and the reader of a table want it."""
    config = network.config
    block_and_head = [*network.blocks.parameters(), *network.norm.parameters(), *network.to_code.parameters()]
    total = sum(one.numel() for one in network.parameters())
    core = sum(one.numel() for one in block_and_head) + network.code.weight.numel()
    return {
        "width": config.width,
        "layers": config.layers,
        "heads": config.heads,
        "kv_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden": config.hidden,
        "parameters": total,
        "input_table_parameters": total - core,  # what a plain text LM of this shape does not have
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=1248)
    options = parser.parse_args()
    torch.manual_seed(0)
    config = LmConfig(
        voices=2,
        num_phone_ids=NUM_PHONE_IDS,
        width=options.width,
        layers=options.layers,
        heads=options.heads,
        kv_heads=options.kv_heads,
        hidden=options.hidden,
    )
    network = SpeechLm(config)
    onnx.save(folded(lm_graph(network)), options.file)
    print(json.dumps(describe(network)))


if __name__ == "__main__":
    main()
