"""Puts one node of our own in place of each part of a decoder that a kernel of ours computes.

    a stage whose products are int8         `parlando.DecoderStage`
    the last ELU and convolution            `parlando.DecoderClosing`
    a layer's attention                     `parlando.DecoderAttention`
    another int8 product                    `parlando.Product`

A node brings the nodes that it stands for as a function: where our kernels are not at hand, those run.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from models import fold_lm
from models.folding import Part, fold, part_between

STAGE, CLOSING, WINDOW = "DecoderStage", "DecoderClosing", "DecoderAttention"


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    return fold(
        model,
        lambda graph: [*_stages(graph), (CLOSING, _closing(graph)), *_windows(graph), *fold_lm.products(graph)],
    )


def _stages(graph: onnx.GraphProto) -> Iterator[tuple[str, Part]]:
    """Each from its first ELU to the sum behind its residual block, where all its products are int8."""
    makers = {name: node for node in graph.node for name in node.output}
    index = 0
    while f"stage{index}" in makers:
        name = f"stage{index}"
        x, up_past, narrow_past = makers[f"{name}.opening"].input[0], f"{name}_up_past", f"{name}_narrow_past"
        outputs = [name, f"{up_past}_out", f"{narrow_past}_out"]
        part = part_between(graph, [x, up_past, narrow_past], outputs, stop={x, up_past, narrow_past})
        if sum(node.op_type == "QuantizeLinear" for node in part.nodes) == 3:
            yield STAGE, part
        index += 1


def _closing(graph: onnx.GraphProto) -> Part:
    x = next(node.input[0] for node in graph.node if node.output[0] == "closing.opening")
    return part_between(graph, [x, "closing_past"], ["closing", "closing_past_out"], stop={x, "closing_past"})


def _windows(graph: onnx.GraphProto) -> Iterator[tuple[str, Part]]:
    makers = {name for node in graph.node for name in node.output}
    layer = 0
    while f"layer{layer}.window" in makers:
        inputs = [f"layer{layer}.heads", f"k{layer}", f"v{layer}", "position"]
        outputs = [f"layer{layer}.window", f"k{layer}_out", f"v{layer}_out"]
        yield WINDOW, part_between(graph, inputs, outputs, stop=set(inputs))
        layer += 1
