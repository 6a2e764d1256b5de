"""Folds parts of the vocoder's graph into nodes of our own, which one kernel each can run.

    a block       some 35 nodes of the exporter and of int8     one `parlando.CausalBlock`, nine in all
    the frames    pulses, windows, spectra, filters              one `parlando.Frames`

What a node stands for goes along as a function of the model, made of the very nodes it replaces: where our kernels
are not at hand, the runtime puts the function's nodes in its place, and the graph computes the same bits as before.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from models.folding import Part, fold, part_between

BLOCK, FRAMES = "CausalBlock", "Frames"
_TAPS = 7


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with a node for each block and one for the frames. Raises ValueError where it has not the form
    that `models.export_vocoder.export_vocoder` and `models.quantise` give it."""
    if model.functions:
        return model  # folded already
    return fold(model, lambda graph: [*((BLOCK, one) for one in _blocks(graph)), (FRAMES, _frames(graph))])


def _blocks(graph: onnx.GraphProto) -> list[Part]:
    """Each from the join of context and input to the sum with what the two products made of it."""
    found = []
    for join in graph.node:
        if join.op_type != "Concat" or len(join.input) != 2 or _axis(join) != 1:
            continue
        users = [node for node in graph.node if join.output[0] in node.input]
        if sum(node.op_type == "Slice" for node in users) != _TAPS + 1:
            continue
        state, x = join.input
        norm = next(node for node in _after(graph, join) if node.op_type == "LayerNormalization")
        sums = [node for node in _after(graph, norm) if node.op_type == "Add" and x in node.input]
        if len(sums) != 1:
            raise ValueError(f"{len(sums)} sums take in {x} behind {norm.name}, one is right")
        later = users[-1].output[0]  # the context for the next chunk
        outputs = [sums[0].output[0], later]
        found.append(part_between(graph, [x, state], outputs, stop={x, state}))
    if not found:
        raise ValueError("no block was found: the exporter has written it in another way")
    return found


def _frames(graph: onnx.GraphProto) -> Part:
    """From pitch, voicing and filters to the spectrum."""
    maker = {name: node for node in graph.node for name in node.output}
    rounds = [node for node in graph.node if node.op_type == "Round"]
    clips = [node for node in graph.node if node.op_type == "Exp" and maker[node.input[0]].op_type == "Clip"]
    if len(rounds) != 1 or len(clips) != 1:
        raise ValueError(f"{len(rounds)} roundings and {len(clips)} filters were found, one of each is right")
    f0_hz = maker[rounds[0].input[0]].input[0]
    filters = maker[clips[0].input[0]].input[0]
    gains = [
        node
        for node in graph.node
        if node.op_type == "Mul"
        and any(name in maker and maker[name].op_type == "Cast" for name in node.input)
        and any(_from_sqrt(maker, name) for name in node.input)
    ]
    if len(gains) != 1:
        raise ValueError(f"{len(gains)} products of voicing and loudness were found, one is right")
    voiced = gains[0].output[0]
    known = [f0_hz, voiced, filters, "phase", "tail", "noise"]
    return part_between(graph, known, ["spectrum", "phase_out", "tail_out"], stop={*known, "codes", "fine", "coarse"})


def _from_sqrt(maker: dict[str, onnx.NodeProto], name: str) -> bool:
    node = maker.get(name)
    return node is not None and node.op_type == "Unsqueeze" and maker[node.input[0]].op_type == "Sqrt"


def _axis(node: onnx.NodeProto) -> int | None:
    return next((one.i for one in node.attribute if one.name == "axis"), None)


def _after(graph: onnx.GraphProto, start: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
    """The nodes behind `start`, in the graph's order."""
    seen = set(start.output)
    for node in graph.node:
        if seen & set(node.input):
            seen |= set(node.output)
            yield node
