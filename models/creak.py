"""Creak in an exported vocoder: what lies below 1 kHz is pulses, never noise, and low pitch loses every second one.

    voiced      F0 below `creak_hz` of the voice: half of it; no breath below 1 kHz
    unvoiced    what was breath below 1 kHz becomes pulses at 50 Hz; above it stays noise

A teacher that creaks at the ends of sentences says 100 Hz of F0 where its samples have single pulses 20 ms apart, and
calls what follows unvoiced. A decoder that learned from it fills both with noise, which is heard as background
(docs/natural-voice.md). The rule looks at one frame alone, so streamed and whole speech stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.framing import BINS, SAMPLE_RATE_HZ, WINDOW

CREAK = "creak_hz"  # the constant [voices] that holds where each voice begins to creak
LEAST_HZ, UNVOICED_HZ = 32.0, 50.0  # of halved F0, so that a window holds a pulse; of pulses where there is no F0
SILENT = -14.0  # log of a filter
LOW_BINS = 1000 * WINDOW // SAMPLE_RATE_HZ


def with_creak(model: onnx.ModelProto, creak_hz: Sequence[float]) -> onnx.ModelProto:
    """The vocoder with the rule between its last products and its pulses, folded or not.

    `creak_hz`: for each voice the F0 below which every second pulse is left out, 0 for none. Raises ValueError where
    the graph has not the form that `models.export_vocoder` writes, or has the rule already.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _Rule(changed.graph).write(np.array(creak_hz, np.float32))
    onnx.checker.check_model(changed)
    return changed


class _Rule:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph, self._nodes = graph, list[onnx.NodeProto]()
        self._maker = {name: node for node in graph.node for name in node.output}

    def write(self, creak_hz: np.ndarray) -> None:
        if any(one.name == CREAK for one in self._graph.initializer):
            raise ValueError("this vocoder creaks already")
        is_voiced, lifted, filters = self._is_voiced(), self._lifted(), self._of_bias("filters.bias")
        cast = next(node for node in self._graph.node if node.op_type == "Cast" and node.input[0] == is_voiced)
        users = [node for node in self._graph.node if filters in node.input]
        hz, shaped = self._f0(is_voiced, lifted.input[0], creak_hz), self._filters(is_voiced, filters)
        self._replace(lifted, lifted.input[0], hz)
        # Pulses everywhere; what is heard of them is the filters' business.
        self._replace(cast, is_voiced, self._node("Or", [is_voiced, self._node("Not", [is_voiced])]))
        for user in users:
            self._replace(user, filters, shaped)
        self._order()

    def _is_voiced(self) -> str:
        """Where the logit of voicing is above zero: [B, F]"""
        found = [node for node in self._graph.node if node.op_type == "Greater"]
        if len(found) != 1:
            raise ValueError(f"{len(found)} comparisons were found, one is right")
        return str(found[0].output[0])

    def _lifted(self) -> onnx.NodeProto:
        """F0 as the network chooses it, times the pitch."""
        for node in self._graph.node:
            if node.op_type == "Mul" and all(name in self._maker for name in node.input):
                hz, pitch = (self._maker[name] for name in node.input)
                if (hz.op_type, pitch.op_type) == ("Clip", "Unsqueeze") and pitch.input[0] == "pitch":
                    return node
        raise ValueError("no product of F0 and pitch was found")

    def _of_bias(self, bias: str) -> str:
        found = [node.output[0] for node in self._graph.node if node.op_type == "Add" and bias in node.input]
        if len(found) != 1:
            raise ValueError(f"{len(found)} sums with {bias} were found, one is right")
        return str(found[0])

    def _f0(self, is_voiced: str, chosen: str, creak_hz: np.ndarray) -> str:
        """[B, F] Hz. The voices' thresholds are weighed term by term, as the voices are (`Decoder.mixed`)."""
        weights = [f"creak_voice{at}" for at in range(len(creak_hz))]
        sizes = self._constant("creak_sizes", np.ones(len(creak_hz), np.int64))
        self._nodes.append(helper.make_node("Split", ["voices", sizes], weights, axis=1))
        self._constant(CREAK, creak_hz)
        below = ""
        for at, weight in enumerate(weights):
            place = self._constant(f"creak_at{at}", np.array(at))
            term = self._node("Mul", [weight, self._node("Gather", [CREAK, place], axis=0)])
            below = term if not at else self._node("Add", [below, term])
        halved = self._node("Mul", [chosen, self._constant("creak_half", np.array(0.5, np.float32))])
        halved = self._node("Max", [halved, self._constant("creak_least", np.array(LEAST_HZ, np.float32))])
        hz = self._node("Where", [self._node("Less", [chosen, below]), halved, chosen])
        return self._node("Where", [is_voiced, hz, self._constant("creak_unvoiced", np.array(UNVOICED_HZ, np.float32))])

    def _filters(self, is_voiced: str, filters: str) -> str:
        """Log filters of pulses and of breath [B, F, 2 BINS], low bins before high ones in each."""
        high = BINS - LOW_BINS
        parts = [f"creak_{kind}" for kind in ("low", "high", "low_breath", "high_breath")]
        sizes = self._constant("creak_bins", np.array([LOW_BINS, high, LOW_BINS, high]))
        self._nodes.append(helper.make_node("Split", [filters, sizes], parts, axis=-1))
        voiced = self._node("Unsqueeze", [is_voiced, self._constant("creak_last", np.array([-1]))])
        silent = self._constant("creak_silent", np.array(SILENT, np.float32))
        pulses = [
            self._node("Where", [voiced, parts[0], parts[2]]),
            self._node("Where", [voiced, parts[1], silent]),
        ]
        no_breath = self._node("Min", [parts[2], silent])
        return self._node("Concat", [*pulses, no_breath, parts[3]], axis=-1)

    def _node(self, kind: str, inputs: list[str], **attributes: int) -> str:
        name = f"creak_{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, name: str, value: np.ndarray) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    @staticmethod
    def _replace(node: onnx.NodeProto, before: str, after: str) -> None:
        node.input[:] = [after if name == before else name for name in node.input]

    def _order(self) -> None:
        """All nodes, each behind what it reads, else in their order."""
        waiting, made = [*self._graph.node, *self._nodes], set[str]()
        unmade = {name for node in waiting for name in node.output}
        ordered = list[onnx.NodeProto]()
        while waiting:
            ready = [node for node in waiting if not (unmade & set(node.input)) - made]
            ordered += ready
            made |= {name for node in ready for name in node.output}
            waiting = [node for node in waiting if not set(node.output) <= made]
        del self._graph.node[:]
        self._graph.node.extend(ordered)
