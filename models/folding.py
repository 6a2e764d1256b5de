"""Folds nodes of a graph into nodes of our own domain, which our kernels run (engines/runtime/cpu_kernels).

What a node stands for goes along as a function of the model, made of the very nodes it replaces: where our kernels are
not at hand, the runtime puts the function's nodes in its place, and the graph computes the same bits as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import helper, numpy_helper

from engines.runtime.kernels import DOMAIN, FOLDED
from models.graph import MICROSOFT


@dataclass
class Part:
    """Nodes of a graph that hang together, and the tensors that go in and come out, in the order of the node's."""

    nodes: list[onnx.NodeProto]
    inputs: list[str]
    outputs: list[str]
    constants: list[str] = field(default_factory=list)


def fold(model: onnx.ModelProto, parts: Callable[[onnx.GraphProto], Iterable[tuple[str, Part]]]) -> onnx.ModelProto:
    """The same model with a node for each part, named by its kind. Raises ValueError where parts of a kind differ."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {one.name: one for one in graph.initializer}
    bodies = {one.name: one for one in result.functions}
    for kind, part in parts(graph):
        body = _function(kind, part, constants, result.opset_import)
        known = bodies.setdefault(kind, body)
        if known.SerializeToString() != body.SerializeToString():
            raise ValueError(f"the nodes that make {part.outputs[0]} differ from those of the first {kind}")
        _replace(graph, part, kind)
    # At the end and one by one: a list that is emptied and filled again keeps the memory of both, once a part.
    used = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
    brought = {one.name for one in result.functions}
    result.functions.extend(body for kind, body in bodies.items() if kind not in brought)
    helper.set_model_props(result, {FOLDED: "1"})
    # The runtime's own domain too: its nodes for int8 come from its optimiser, which must know where to look for them.
    known_domains = {one.domain for one in result.opset_import}
    result.opset_import.extend(helper.make_opsetid(one, 1) for one in (DOMAIN, MICROSOFT) if one not in known_domains)
    return result


def part_between(graph: onnx.GraphProto, inputs: list[str], outputs: list[str], stop: set[str]) -> Part:
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
    return Part(nodes, inputs, outputs)


def _function(
    kind: str, part: Part, constants: dict[str, onnx.TensorProto], opsets: Sequence[onnx.OperatorSetIdProto]
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


def _replace(graph: onnx.GraphProto, part: Part, kind: str) -> None:
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
    del graph.node[:]
    graph.node.extend(kept)
