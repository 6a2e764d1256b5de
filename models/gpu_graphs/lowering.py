"""A CPU graph as one that a device captures: our own operators written out, int8 multiplied out, lengths fixed, and
attention in a form that the device has. What a row computes stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner, numpy_helper

from engines.runtime.ort import ort, session_options
from models.gpu_graphs.building import IR_VERSION, MICROSOFT, OPSET, TYPES

Array = NDArray[Any]
_ROWS = (2, 3)
_OPSET = 21  # as the CPU graphs have; of later ones the device has no Elu


class Lowered:
    """A graph under change."""

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        """`lengths`: of named axes that are fixed; `B` stays open."""
        model = onnx.load(path)
        if model.functions:
            model = inliner.inline_local_functions(model)
        graph = model.graph
        self.inputs, self.outputs = list(graph.input), list(graph.output)
        self.nodes, self._opset = list(graph.node), _OPSET
        self.constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        for one in (*self.inputs, *self.outputs):
            for axis in one.type.tensor_type.shape.dim:
                if axis.dim_param in lengths:
                    axis.dim_value = lengths[axis.dim_param]
        self._multiply_out()
        self._fix_shapes()
        self._sum_up()
        self._cut()

    # -- constants -------------------------------------------------------------------------------------------------

    def _multiply_out(self) -> None:
        """int8 and stored precisions become float32 constants, and what was rounded on its way is not."""
        kept, renamed = [], dict[str, str]()
        makers = {name: node for node in self.nodes for name in node.output}
        for node in self.nodes:
            inputs = [renamed.get(name, name) for name in node.input]
            source = makers.get(inputs[0]) if inputs else None
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "DequantizeLinear" and inputs[0] in self.constants:
                self.constants[node.output[0]] = self._widened(inputs, node)
            elif node.op_type == "DequantizeLinear" and source is not None and source.op_type == "QuantizeLinear":
                renamed[node.output[0]] = renamed.get(source.input[0], source.input[0])
            elif node.op_type == "Cast" and inputs[0] in self.constants:
                kind = helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
                self.constants[node.output[0]] = self.constants[inputs[0]].astype(kind)
            else:
                kept.append(node)
                del node.input[:]
                node.input.extend(inputs)
        self.nodes = kept
        self._drop_unused()

    def _widened(self, inputs: list[str], node: onnx.NodeProto) -> Array:
        values, scale, *zero = (self.constants[name] for name in inputs if name)
        axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
        if scale.ndim:
            shape = [1] * values.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), [one.reshape(shape) for one in zero]
        whole = values.astype(np.float32) - (zero[0].astype(np.float32) if zero else np.float32(0))
        return np.asarray(whole * scale, np.float32)

    def _drop_unused(self) -> None:
        wanted, kept = {one.name for one in self.outputs}, list[onnx.NodeProto]()
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in wanted}
        self.inputs = [one for one in self.inputs if one.name in wanted]

    # -- shapes ----------------------------------------------------------------------------------------------------

    def _fix_shapes(self) -> None:
        """What the graph computes of lengths alone becomes a constant. A shape that changes with the number of rows has
        -1 there."""
        computed = set[str]()
        for node in self.nodes:
            known = all(name in computed or name in self.constants for name in node.input if name)
            if node.op_type == "Shape" or (known and computed.intersection(node.input)):
                computed.update(node.output)
        wanted = {name for node in self.nodes if not computed.intersection(node.output) for name in node.input}
        found = sorted(wanted & computed)
        for name, (few, more) in (self._values_of(found) if found else {}).items():
            self.constants[name] = few if np.array_equal(few, more) else np.where(few == more, few, -1)
        self.nodes = [node for node in self.nodes if not computed.intersection(node.output)]
        self._drop_unused()

    def _sum_up(self) -> None:
        """A product with ones, whose order of sums is what a CPU's bits need, copies a table of rows to a device."""
        for node in self.nodes:
            ones = self.constants.get(node.input[0]) if node.op_type == "MatMul" else None
            if ones is not None and ones.ndim == 2 and len(ones) == 1 and (ones == 1).all():
                axis = self.constant("axis.-2", np.array([-2]))
                node.CopyFrom(helper.make_node("ReduceSum", [node.input[1], axis], list(node.output), keepdims=1))
        self._drop_unused()

    def _cut(self) -> None:
        """A split into parts of several sizes copies a table of them to a device, unless it is along the last axis. The
        runtime makes one of slices too."""
        found = []
        for node in self.nodes:
            axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
            sizes = self.constants.get(node.input[1]) if node.op_type == "Split" and len(node.input) > 1 else None
            if sizes is None or axis < 0 or len(set(sizes.tolist())) == 1:
                found.append(node)
                continue
            ends = np.cumsum([0, *sizes.tolist()]).tolist()
            for name, first, last in zip(node.output, ends, ends[1:], strict=False):
                part = self.constant(f"part.{first}.{last}", np.arange(first, last))
                found.append(helper.make_node("Gather", [node.input[0], part], [name], axis=axis))
        self.nodes = found
        self._drop_unused()

    def _values_of(self, names: list[str]) -> dict[str, tuple[Array, Array]]:
        """Of integers that the graph computes, with one number of rows and with another."""
        ends = [onnx.ValueInfoProto(name=name) for name in names]
        options = session_options()
        options.log_severity_level = 3
        nodes, wanted = [], set(names)
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                nodes.append(node)
        stored = [numpy_helper.from_array(self.constants[name], name) for name in wanted & set(self.constants)]
        needed = [one for one in self.inputs if one.name in wanted]
        model = _model(helper.make_graph(nodes[::-1], "shapes", needed, ends, stored))
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        runs = [session.run(names, {one.name: _zeros(one, rows) for one in needed}) for rows in _ROWS]
        return {name: (few, more) for name, few, more in zip(names, *runs, strict=True)}

    def constant(self, name: str, value: Array) -> str:
        self.constants[name] = np.asarray(value)
        return name

    # -- attention and types ---------------------------------------------------------------------------------------

    def fix_total(self, positions: int) -> None:
        """The longest row is told to attention by a number on the host: here what a slot holds at most. Rotations go as
        far; the last ones are those of a block's filling, which no step sees."""
        total = self.constant("total", np.array([positions], np.int32))
        for node in self.nodes:
            if node.op_type == "GroupQueryAttention":
                node.input[6] = total
                for name in node.input[7:9]:
                    self.constants[name] = lengthened(self.constants[name], positions)
        self._drop_unused()

    def count_from_lengths(self, steps: int) -> None:
        """The newest position of a row is computed from what it holds before, `lengths`: zeros are valid then, as every
        input has when a call is captured."""
        for one in self.inputs:
            if one.name == "seqlens_k":
                one.name = "lengths"
        behind = self.constant(f"behind.{steps}", np.array([steps - 1], np.int32))
        self.nodes.insert(0, helper.make_node("Add", ["lengths", behind], ["seqlens_k"]))

    def write_out_attention(self, steps: int, *, masked: bool = False) -> None:
        """For float32, of which grouped attention has no kernel on a device. `masked`: for TensorRT, see `Attend`."""
        found: list[onnx.NodeProto] = []
        self._opset = OPSET
        for node in self.nodes:
            found += _written_out(self, node, steps, masked) if node.op_type == "GroupQueryAttention" else [node]
        self.nodes = found
        self._drop_unused()

    def narrow(self, dtype: str, keep: tuple[str, ...] = ()) -> None:
        """Weights and activations in another type; inputs and outputs stay float32, but caches and `keep`."""
        if dtype == "float32":
            return
        kind, wide = TYPES[dtype], TensorProto.FLOAT
        native = helper.tensor_dtype_to_np_dtype(kind)
        for name, value in self.constants.items():
            if value.dtype == np.float32:
                self.constants[name] = value.astype(native)
        before, behind, renamed = [], [], dict[str, str]()
        for one in self.inputs:
            if one.type.tensor_type.elem_type == wide:
                if one.name.startswith("past_"):
                    one.type.tensor_type.elem_type = kind
                else:
                    renamed[one.name] = f"{one.name}.narrow"
                    before.append(helper.make_node("Cast", [one.name], [renamed[one.name]], to=kind))
        for one in self.outputs:
            if one.type.tensor_type.elem_type == wide:
                if one.name.startswith("present_"):
                    one.type.tensor_type.elem_type = kind
                else:
                    renamed[one.name] = f"{one.name}.narrow"
                    behind.append(helper.make_node("Cast", [renamed[one.name]], [one.name], to=wide))
        for node in self.nodes:
            for ends in (node.input, node.output):
                for at, name in enumerate(ends):
                    ends[at] = renamed.get(name, name)
            if node.op_type == "Cast" and node.attribute[0].i == wide:
                node.attribute[0].i = kind
        self.nodes = [*before, *self.nodes, *behind]

    # -- ends ------------------------------------------------------------------------------------------------------

    def keep_by_row(self, state: str, made: str, active: str = "is_active") -> None:
        """`state` [B, W] becomes what was `made` in rows that are active, in place where both ends are one buffer."""
        self.inputs.append(helper.make_tensor_value_info(active, TensorProto.BOOL, ["B"]))
        rows = self.constant("shape.-1_1", np.array([-1, 1]))
        self.nodes.append(helper.make_node("Reshape", [active, rows], [f"{active}.rows"]))
        self.nodes.append(helper.make_node("Where", [f"{active}.rows", made, state], [f"{state}_out"]))
        kind = next(one.type.tensor_type for one in self.inputs if one.name == state)
        shape: list[str | int] = ["B", kind.shape.dim[1].dim_value]
        self.outputs.append(helper.make_tensor_value_info(f"{state}_out", kind.elem_type, shape))

    def state_by_slot(self, names: list[str]) -> None:
        """Each state is read from and written to its slot: rows name theirs in `slots` [B]."""
        self.inputs.append(helper.make_tensor_value_info("slots", TensorProto.INT64, ["B"]))
        rows = self.constant("shape.-1_1", np.array([-1, 1]))
        before, behind = [], [helper.make_node("Reshape", ["slots", rows], ["slot_rows"])]
        for name in names:
            for one in (*self.inputs, *self.outputs):
                if one.name in (name, f"{name}_out"):
                    one.type.tensor_type.shape.dim[0].dim_param = "slots_held"
            before.append(helper.make_node("Gather", [name, "slots"], [f"{name}.rows"]))
            behind.append(helper.make_node("ScatterND", [name, "slot_rows", f"{name}.new"], [f"{name}_out"]))
        renamed = {name: f"{name}.rows" for name in names} | {f"{name}_out": f"{name}.new" for name in names}
        for node in self.nodes:
            for ends in (node.input, node.output):
                for at, name in enumerate(ends):
                    ends[at] = renamed.get(name, name)
        self.nodes = [*before, *self.nodes, *behind]

    def sum_of(self, value: str, output: str) -> None:
        """A number by row where all of `value` [B, ...] are."""
        shape = next(one.type.tensor_type.shape for one in self.outputs if one.name == value)
        axes = self.constant(f"{output}.axes", np.arange(1, len(shape.dim)))
        self.nodes.append(helper.make_node("ReduceSum", [value, axes], [output], keepdims=0))
        self.outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["B"]))

    def model(self, name: str) -> onnx.ModelProto:
        stored = [numpy_helper.from_array(np.asarray(value, order="C"), at) for at, value in self.constants.items()]
        return _model(helper.make_graph(self.nodes, name, self.inputs, self.outputs, stored), self._opset)


def lengthened(rotations: Array, positions: int) -> Array:
    return np.pad(rotations, ((0, max(0, positions - len(rotations))), (0, 0)), mode="edge")


def _model(body: onnx.GraphProto, opset: int = _OPSET) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)


def _zeros(one: onnx.ValueInfoProto, rows: int) -> Array:
    kind = one.type.tensor_type
    return np.zeros(
        [axis.dim_value or rows for axis in kind.shape.dim], helper.tensor_dtype_to_np_dtype(kind.elem_type)
    )


def _written_out(graph: Lowered, node: onnx.NodeProto, steps: int, masked: bool) -> list[onnx.NodeProto]:
    """Rotate, append and attend one by one. Queries, keys and values are packed or apart, [B, S, ...]."""
    query, key, value, past_k, past_v, newest, _, cosine, sine = list(node.input)[:9]
    how = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    heads, kv_heads, at = how["num_heads"], how["kv_num_heads"], node.output[0]
    slab = [axis.dim_value for axis in next(i for i in graph.inputs if i.name == past_k).type.tensor_type.shape.dim]
    dim = slab[3]
    made: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        made.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def shape(*lengths: int) -> str:
        return graph.constant("shape." + "_".join(map(str, lengths)), np.array(lengths))

    ends = [query, key, value]
    if not key:
        sizes = graph.constant(f"sizes.{heads}_{kv_heads}_{dim}", np.array([heads, kv_heads, kv_heads]) * dim)
        ends = [f"{at}.{kind}" for kind in "qkv"]
        made.append(helper.make_node("Split", [query, sizes], ends, axis=-1))
    # newest [B] is the last position of all; the first step's is steps - 1 before it
    before = graph.constant(f"before.{steps}", np.array([steps - 1]))
    write_at = add("Sub", [add("Cast", [newest], f"{at}.newest", to=TensorProto.INT64), before], f"{at}.write_at")
    rows = add("Reshape", [write_at, shape(-1, 1)], f"{at}.write_rows")
    ramp = graph.constant(f"steps.{steps}", np.arange(steps))
    places = add("Add", [rows, ramp], f"{at}.places")
    turned = []
    for kind, name, count in zip("qkv", ends, (heads, kv_heads, kv_heads), strict=True):
        split = add("Reshape", [name, shape(-1, steps, count, dim)], f"{at}.{kind}.steps")
        split = add("Transpose", [split], f"{at}.{kind}.heads", perm=[0, 2, 1, 3])
        if kind != "v":
            split = add("RotaryEmbedding", [split, cosine, sine, places], f"{at}.{kind}.rotated")
        turned.append(split)
    for old, added, new in zip((past_k, past_v), turned[1:], node.output[1:3], strict=True):
        add("TensorScatter", [old, added, write_at], new, axis=-2, mode="linear")
    scale = {"scale": how["scale"]} if "scale" in how else {}
    inputs = [turned[0], *node.output[1:3]]
    if masked:
        by_step = add("Reshape", [places, shape(-1, 1, steps, 1)], f"{at}.places_by_step")
        columns = graph.constant(f"columns.{slab[2]}", np.arange(slab[2]))
        inputs.append(add("LessOrEqual", [columns, by_step], f"{at}.mask"))
        mixed = add("Attention", inputs, f"{at}.by_head", **scale)
    else:
        held = add("Add", [f"{at}.newest", graph.constant("one", np.array([1]))], f"{at}.held")
        mixed = add("Attention", [*inputs, "", "", "", held], f"{at}.by_head", is_causal=1, **scale)
    along = add("Transpose", [mixed], f"{at}.along", perm=[0, 2, 1, 3])
    add("Reshape", [along, shape(-1, steps, heads * dim)], at)
    return made
