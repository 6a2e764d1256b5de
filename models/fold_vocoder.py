"""Folds parts of the vocoder's graph into nodes of our own, which one kernel each can run.

    a block       some 35 nodes of the exporter and of int8     one `parlando.CausalBlock`, nine in all
    the frames    pulses, windows, spectra, filters              one `parlando.Frames`

What a node stands for goes along as a function of the model, made of the very nodes it replaces: where our kernels
are not at hand, the runtime puts the function's nodes in its place, and the graph says what it said before, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import helper, numpy_helper

from engines.runtime.onnx import FOLDED
from models.graph import MICROSOFT

DOMAIN = "parlando"
BLOCK, FRAMES = "CausalBlock", "Frames"
_TAPS = 7


@dataclass
class _Part:
    """Nodes of a graph that hang together, and the tensors that go in and come out, in the order of the node's."""

    nodes: list[onnx.NodeProto]
    inputs: list[str]
    outputs: list[str]
    constants: list[str] = field(default_factory=list)


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with a node for each block and one for the frames. Raises ValueError where it has not the form
    that `models.export.export_vocoder` and `models.quantise` give it."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if result.functions:
        return result  # folded already
    graph = result.graph
    constants = {one.name: one for one in graph.initializer}
    bodies: dict[str, onnx.FunctionProto] = {}
    for kind, part in [*((BLOCK, one) for one in _blocks(graph)), (FRAMES, _frames(graph))]:
        body = _function(kind, part, constants, result.opset_import)
        known = bodies.setdefault(kind, body)
        if known.SerializeToString() != body.SerializeToString():
            raise ValueError(f"the nodes that make {part.outputs[0]} differ from those of the first {kind}")
        _replace(graph, part, kind)
    result.functions.extend(bodies.values())
    helper.set_model_props(result, {FOLDED: "1"})
    # The runtime's own domain too: its nodes for int8 come from its optimiser, which must know where to look for them.
    result.opset_import.extend([helper.make_opsetid(DOMAIN, 1), helper.make_opsetid(MICROSOFT, 1)])
    return result


def _blocks(graph: onnx.GraphProto) -> list[_Part]:
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
        found.append(_part(graph, [x, state], outputs, stop={x, state}))
    if not found:
        raise ValueError("no block was found: the exporter has written it in another way")
    return found


def _frames(graph: onnx.GraphProto) -> _Part:
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
    return _part(graph, known, ["spectrum", "phase_out", "tail_out"], stop={*known, "codes", "fine", "coarse"})


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


def _part(graph: onnx.GraphProto, inputs: list[str], outputs: list[str], stop: set[str]) -> _Part:
    """All nodes between; what else they take that is made elsewhere from shapes alone becomes an input too."""
    maker = {name: node for node in graph.node for name in node.output}
    constants = {one.name for one in graph.initializer}
    wanted: set[str] = set()
    todo = list(outputs)
    while todo:
        name = todo.pop()
        if not name or name in stop or name in constants or name in wanted or name not in maker:
            continue
        wanted.add(name)
        todo += maker[name].input
    while True:  # what is used outside as well, shapes that is, is made there
        nodes = [node for node in graph.node if wanted & set(node.output)]
        outside = {name for node in graph.node if node not in nodes for name in node.input}
        shared = (outside & wanted) - set(outputs)
        if not shared:
            break
        wanted -= shared
    inside = {name for node in nodes for name in node.output}
    for node in nodes:
        for name in node.input:
            if name and name not in inside and name not in constants and name not in inputs:
                inputs = [*inputs, name]
    return _Part(nodes, inputs, outputs)


def _function(
    kind: str, part: _Part, constants: dict[str, onnx.TensorProto], opsets: Sequence[onnx.OperatorSetIdProto]
) -> onnx.FunctionProto:
    """The part with names of its own. Constants of whole numbers stay inside; the others become inputs, in the order of
    their first use, and are noted in the part."""
    names = {name: f"in{index}" for index, name in enumerate(part.inputs)}
    names |= {name: f"out{index}" for index, name in enumerate(part.outputs)}
    body = []
    for node in part.nodes:
        for name in node.input:
            if not name or name in names:
                continue
            if constants[name].data_type == onnx.TensorProto.INT64:
                names[name] = f"whole{len(names)}"
                value = numpy_helper.from_array(numpy_helper.to_array(constants[name]), "")
                body.append(helper.make_node("Constant", [], [names[name]], value=value))
            else:
                names[name] = f"constant{len(part.constants)}"
                part.constants.append(name)
        for name in node.output:
            names.setdefault(name, f"made{len(names)}")
        own = onnx.NodeProto()
        own.CopyFrom(node)
        own.ClearField("name")
        own.input[:] = [names[name] if name else "" for name in node.input]
        own.output[:] = [names[name] for name in node.output]
        body.append(own)
    inputs = [f"in{index}" for index in range(len(part.inputs))]
    inputs += [f"constant{index}" for index in range(len(part.constants))]
    outputs = [f"out{index}" for index in range(len(part.outputs))]
    return helper.make_function(DOMAIN, kind, inputs, outputs, body, list(opsets))


def _replace(graph: onnx.GraphProto, part: _Part, kind: str) -> None:
    inside = {name for node in part.nodes for name in node.output} - set(part.outputs)
    kept = [node for node in graph.node if node not in part.nodes]
    for node in kept:
        if taken := inside & set(node.input):
            raise ValueError(f"{sorted(taken)} are used outside the {kind} that makes them")
    node = helper.make_node(
        kind, [*part.inputs, *part.constants], part.outputs, f"{kind}:{part.outputs[0]}", "", DOMAIN
    )
    last = max(index for index, other in enumerate(graph.node) if other in part.nodes)
    at = sum(other not in part.nodes for other in list(graph.node)[: last + 1])
    kept.insert(at, node)
    used = {name for node in kept for name in node.input}
    rest = [one for one in graph.initializer if one.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(rest)
