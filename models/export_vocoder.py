"""The decoder as the bundle's vocoder graph: codes, voices and states in, spectrum and states out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from models.codec import SAMPLES_PER_CODE, Decoder
from models.framing import LOOK_BACK
from models.seen_phones import SEEN_COLUMNS


def vocoder_states(decoder: Decoder) -> list[dict[str, Any]]:
    coarse, fine = decoder.coarse_state, decoder.fine_state
    return [
        {"name": "coarse", "shape": list(coarse), "dtype": "float32"},
        {"name": "fine", "shape": list(fine), "dtype": "float32"},
        {"name": "phase", "shape": [], "dtype": "int64"},
        {"name": "tail", "shape": [LOOK_BACK], "dtype": "float32"},
    ]


def sees_text(decoder: Decoder) -> dict[str, bool]:
    """As the manifest says it: nothing for a decoder that sees codes alone."""
    return {} if decoder.seen is None else {"sees_text": True}


def vocoder_inputs(decoder: Decoder, rows: int, codes: int) -> dict[str, torch.Tensor]:
    """Zero inputs of the serving form, of the first voice, by name and in the decoder's order."""
    inputs = {
        "codes": torch.zeros(rows, codes, dtype=torch.long),
        "voices": torch.eye(decoder.voice.num_embeddings)[:1].expand(rows, -1),
        "pitch": torch.ones(rows),
        "noise": torch.zeros(rows, LOOK_BACK + codes * SAMPLES_PER_CODE),
    }
    for state in vocoder_states(decoder):
        inputs[state["name"]] = torch.zeros(rows, *state["shape"], dtype=getattr(torch, state["dtype"]))
    if decoder.seen is not None:
        inputs["seen"] = torch.zeros(rows, codes, SEEN_COLUMNS, dtype=torch.long)
    return inputs


def export_vocoder(decoder: Decoder, path: Path) -> None:
    inputs = vocoder_inputs(decoder, 2, 3)
    batch, codes = torch.export.Dim("batch", min=1, max=256), torch.export.Dim("steps", min=1, max=2048)
    shapes: dict[str, dict[int, Any]] = {name: {0: batch} for name in inputs}
    for name in {"codes", "seen"} & inputs.keys():
        shapes[name][1] = codes
    shapes["noise"] = {0: batch, 1: SAMPLES_PER_CODE * codes + LOOK_BACK}
    states = [state["name"] for state in vocoder_states(decoder)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of changes inside torch itself
        program = torch.onnx.export(
            decoder.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["spectrum", *[f"{name}_out" for name in states]],
            dynamic_shapes=tuple(shapes.values()),
            dynamo=True,
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    without_origin(model)
    store_in_half(model)
    onnx.save(model, path)


def without_origin(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes about where each node came from: stack traces with the paths of this machine."""
    for item in [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]:
        item.ClearField("doc_string")
        del item.metadata_props[:]
    for end in [*model.graph.input, *model.graph.output]:
        del end.metadata_props[:]


def store_in_half(model: onnx.ModelProto) -> None:
    """Large float32 weights become float16 with a cast in front; small ones and the DFT matrix stay exact."""
    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < 4096 or "analysis" in tensor.name:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + kept)
