"""Streamed equals whole and a row equals itself in a batch, bit for bit: float and int8, on the runtime's kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.checkpoints.pocket import files
from models.exporting.pocket.decoder import decoder_graph
from tests.pocket.graphs import Decoder, SpeechModel

FRAMES = 12


@pytest.fixture(scope="module")
def checkpoint(smallest: Path) -> files.Checkpoint:
    return files.read(str(smallest), ["alba"], "english_2m_2026-10")


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_decoder(kind: str, checkpoint: files.Checkpoint, bundle: Path) -> None:
    model = decoder_graph(checkpoint.config, checkpoint.weights)
    decoder = Decoder(model if kind == "float" else onnx.load(bundle / "decoder.onnx"), 16)
    latents = np.random.default_rng(0).standard_normal((5, FRAMES, 32), np.float32)
    whole = decoder.run(latents, [FRAMES])
    for chunks in ([1] * FRAMES, [1, 2, 4, 5], [8, 4]):
        np.testing.assert_array_equal(decoder.run(latents, chunks), whole, str(chunks))
    np.testing.assert_array_equal(decoder.run(latents[3:4], [3] * 4)[0], whole[3])
    assert np.abs(whole).max() > 1e-3


@pytest.fixture(scope="module")
def graphs(bundle: Path) -> list[onnx.ModelProto]:
    return [onnx.load(bundle / f"{name}.onnx") for name in ("prefill", "step")]


def test_text_in_blocks(checkpoint: files.Checkpoint, graphs: list[onnx.ModelProto]) -> None:
    ids = np.random.default_rng(1).integers(4000, size=48).tolist()
    caches = []
    for blocks in ([48], [8] * 6, [16, 32], [20, 28]):
        model, at = SpeechModel(checkpoint.config, *graphs), 0
        for count in blocks:
            model.read(ids[at : at + count])
            at += count
        caches.append(model.cache)
    for cache in caches[1:]:
        for name, value in cache.items():
            np.testing.assert_array_equal(value, caches[0][name], name)


def test_rows_of_any_length_are_independent(checkpoint: files.Checkpoint, graphs: list[onnx.ModelProto]) -> None:
    rng, held = np.random.default_rng(2), np.array([3, 20, 50, 64, 65, 100], np.int32)
    together = SpeechModel(checkpoint.config, *graphs, rows=len(held))
    together.cache = {name: rng.standard_normal(one.shape, np.float32) for name, one in together.cache.items()}
    kept, together.held = dict(together.cache), held
    latent, noise = rng.standard_normal((2, len(held), 32), np.float32)
    frames, ends = together.make(latent, noise)
    for row, count in enumerate(held):
        alone = SpeechModel(checkpoint.config, *graphs)
        alone.cache = {name: one[row : row + 1] for name, one in kept.items()}
        alone.held = np.array([count], np.int32)
        frame, end = alone.make(latent[row : row + 1], noise[row : row + 1])
        np.testing.assert_array_equal(frame[0], frames[row])
        assert end[0] == ends[row]
