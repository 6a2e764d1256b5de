"""A graph with folded nodes computes the same bits as before wherever our kernels do not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from engines.runtime.ort import ort, session_options
from models.codec import Decoder
from models.export_vocoder import export_vocoder, vocoder_inputs
from models.fold_vocoder import BLOCK, FRAMES, folded
from models.folding import DOMAIN
from models.quantise import products, quantised, scales


def drawn(decoder: Decoder, rows: int, codes: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng([rows, codes])
    given = {name: value.numpy() for name, value in vocoder_inputs(decoder, rows, codes).items()}
    given["codes"] = rng.integers(0, 4096, (rows, codes))
    given["noise"] = rng.standard_normal(given["noise"].shape).astype(np.float32)
    return given


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(2)
    return Decoder(4).eval()


@pytest.fixture(scope="module")
def written(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """As `quantise_bundle` has it before it is folded."""
    path: Path = tmp_path_factory.mktemp("written") / "vocoder.onnx"
    export_vocoder(decoder, path)
    model = onnx.load(path)
    last = products(model)[-1].input[1]
    return quantised(model, scales(model, [drawn(decoder, 1, 30)]), lambda weight: weight != last)


def stock(model: onnx.ModelProto) -> ort.InferenceSession:
    """As the engine opens it: the fusion left out may sum in another order in one form than in the other."""
    options = session_options()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion"],
    )


def test_it_has_a_node_for_each_block_and_one_for_the_frames(written: onnx.ModelProto) -> None:
    model = folded(written)
    onnx.checker.check_model(model)
    own = [node.op_type for node in model.graph.node if node.domain == DOMAIN]
    assert own == [BLOCK] * 9 + [FRAMES]
    assert len(model.graph.node) < len(written.graph.node) / 5
    assert sum(len(one.raw_data) for one in model.graph.initializer) <= sum(
        len(one.raw_data) for one in written.graph.initializer
    ), "nothing is kept twice"


@pytest.mark.parametrize(("rows", "codes"), [(1, 1), (2, 7), (1, 40)])
def test_it_says_the_same_bits(written: onnx.ModelProto, decoder: Decoder, rows: int, codes: int) -> None:
    before, after, given = stock(written), stock(folded(written)), drawn(decoder, rows, codes)
    assert [one.name for one in before.get_inputs()] == [one.name for one in after.get_inputs()]
    for one, other in zip(before.run(None, given), after.run(None, given), strict=True):
        assert np.array_equal(one, other)


def test_folded_again_it_stays_as_it_is(written: onnx.ModelProto) -> None:
    once = folded(written)
    assert folded(once) == once


def test_another_form_is_refused(written: onnx.ModelProto) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(written)
    norms = [node for node in other.graph.node if node.op_type == "LayerNormalization"]
    for attribute in norms[1].attribute:
        if attribute.name == "epsilon":
            attribute.f = 1e-3
    with pytest.raises(ValueError, match="differ from those of the first CausalBlock"):
        folded(other)
    without = onnx.ModelProto()
    without.CopyFrom(written)
    for node in without.graph.node:
        if node.op_type == "Concat":
            node.op_type = "Join"
    with pytest.raises(ValueError, match="no block was found"):
        folded(without)
