"""One frame of Qwen3-TTS as one graph for a GPU: the talker's step, code 0, and the predictor's dependent steps with
their sampling. What a step needs of the one before stays on the device: the last frame, and the codes generated so far.

    text [B]            id that is read beside the last frame
    codes [B, Q]        rows of the frame table instead of the last frame, where `follows` [B] is false
    is_active [B]       other rows keep their last frame and their codes; they write where their next step writes
    inner_at [B] x Q    the predictor's lengths, 0 ... Q - 1: constants that a graph cannot make for an open B

A row samples the largest of its likeliest logits plus temperature times Gumbel noise, read from a table at a place
that its seed and frame give: what a row draws depends on nothing else. Temperature 0 is the likeliest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto

from models.gpu_graphs.attention import Attend, Places, attention
from models.gpu_graphs.building import MICROSOFT, DeviceGraph
from models.gpu_graphs.lowering import lengthened
from models.gpu_graphs.qwen3_weights import BlockWeights, Qwen3Weights

_NEVER = -np.inf


def frame(weights: Qwen3Weights, dtype: str, positions: int, form: Attend = Attend.GROUPED) -> onnx.ModelProto:
    return _Frame(DeviceGraph(dtype), weights, positions, form).model()


def prefill(
    weights: Qwen3Weights, dtype: str, positions: int, steps: int, form: Attend = Attend.GROUPED
) -> onnx.ModelProto:
    """A block of one row's prompt into its cache. text [1, S], codes [1, S, Q], speaker [1, S, width] is added; the
    checksum is a number where all of the last layer's rows are."""
    return _Frame(DeviceGraph(dtype), weights, positions, form).prompt(steps)


@dataclass(frozen=True, slots=True)
class _Frame:
    graph: DeviceGraph
    weights: Qwen3Weights
    positions: int
    form: Attend

    def model(self) -> onnx.ModelProto:
        graph, weights = self.graph, self.weights
        lengths = graph.input("lengths", TensorProto.INT32, ["B"])
        places = Places(graph, "talker", lengths, 1, self.positions, self._rotary())
        x, past = self._entered(), self._slabs("past", "present")
        hidden = self._blocks(weights.talker, "talker", x, places, past)
        noise = self._noise()
        logits = graph.to_float32(self._product(hidden, "codec_head", weights.codec_head), "logits")
        codes = [self._first(logits, noise[0])]
        codes += self._inner(hidden, codes[0], noise)
        columns = [graph.reshape(code, [-1, 1], f"{code}.column") for code in codes]
        graph.node("Concat", columns, graph.output("frames", TensorProto.INT64, ["B", weights.codebooks]), axis=1)
        starts = graph.constant("starts", weights.starts[None])
        rows = graph.node("Add", ["frames", starts], "frame_rows")
        graph.node(
            "Where",
            [graph.reshape("is_active", [-1, 1], "active_rows"), rows, "last"],
            graph.output("last_out", TensorProto.INT64, ["B", weights.codebooks]),
        )
        axis = graph.constant("last_axis", np.array([-1]))
        graph.node("ReduceSum", [logits, axis], graph.output("scores", TensorProto.FLOAT, ["B"]), keepdims=0)
        return graph.model(f"qwen3_tts frame {graph.dtype} {self.form.value}")

    def prompt(self, steps: int) -> onnx.ModelProto:
        graph, weights = self.graph, self.weights
        rows: str | int = "B" if self.form is Attend.MASKED else 1  # TensorRT's builder is known to fail for one row
        text = graph.input("text", TensorProto.INT64, [rows, steps])
        codes = graph.input("codes", TensorProto.INT64, [rows, steps, weights.codebooks])
        width = int(weights.text_table.shape[1])
        speaker = graph.input("speaker", TensorProto.FLOAT, [rows, steps, width])
        lengths = graph.input("lengths", TensorProto.INT32, [rows])
        if self.form is Attend.GROUPED:
            graph.node("Add", [lengths, graph.constant("newest", np.array([steps - 1], np.int32))], "talker.newest")
        places = Places(graph, "talker", lengths, steps, self.positions, self._rotary())
        x = self._read(graph.reshape(text, [-1], "ids"), graph.reshape(codes, [-1, weights.codebooks], "rows"))
        spoken = graph.to_own_type(graph.reshape(speaker, [-1, width], "speaker_rows"), "spoken_for")
        x = graph.node("Add", [x, spoken], "spoken_prompt")
        h = self._blocks(weights.talker, "talker", x, places, self._slabs("past", "present"))
        last, checksum = graph.to_float32(h, "last_rows"), graph.output("checksum", TensorProto.FLOAT, [rows, 1])
        if self.form is Attend.MASKED:
            by_row = graph.reshape(last, [-1, steps * width], "last_by_row")
            graph.node("ReduceSum", [by_row, graph.constant("row_axis", np.array([1]))], checksum, keepdims=1)
        else:
            graph.reshape(graph.node("ReduceSum", [last], "summed_rows", keepdims=0), [1, 1], checksum)
        return graph.model(f"qwen3_tts prefill {graph.dtype} {self.form.value}")

    def _rotary(self) -> tuple[str, str]:
        graph, weights = self.graph, self.weights
        tables = ("cosine", weights.cosine), ("sine", weights.sine)
        cosine, sine = (graph.weight(name, lengthened(table, self.positions)) for name, table in tables)
        return cosine, sine

    def _entered(self) -> str:
        """-> x [B, width]: the text's vector and those of a frame's codes."""
        graph, count = self.graph, self.weights.codebooks
        text = graph.input("text", TensorProto.INT64, ["B"])
        codes = graph.input("codes", TensorProto.INT64, ["B", count])
        follows = graph.input("follows", TensorProto.BOOL, ["B"])
        last = graph.input("last", TensorProto.INT64, ["B", count])
        graph.input("is_active", TensorProto.BOOL, ["B"])
        rows = graph.node("Where", [graph.reshape(follows, [-1, 1], "follows_rows"), last, codes], "rows")
        return self._read(text, rows)

    def _read(self, text: str, rows: str) -> str:
        """text [N], rows [N, Q] -> [N, width]"""
        graph, weights = self.graph, self.weights
        vectors = graph.node("Gather", [graph.weight("frame_table", weights.frame_table), rows], "vectors")
        summed = graph.node("ReduceSum", [vectors, graph.constant("middle_axis", np.array([1]))], "summed", keepdims=0)
        read = graph.node("Gather", [graph.weight("text_table", weights.text_table), text], "read")
        return graph.node("Add", [read, summed], "entered")

    def _slabs(self, old: str, new: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        graph, talker = self.graph, self.weights.talker
        shape: list[str | int] = ["B", talker.heads.kv_heads, self.positions, talker.heads.head_dim]
        pairs = []
        for layer in range(len(talker.layers)):
            names = [tuple(f"{end}_{kind}{layer}" for kind in "kv") for end in (old, new)]
            for name in names[0]:
                graph.input(name, graph.type, shape)
            for name in names[1]:
                graph.output(name, graph.type, shape)
            pairs.append((names[0], names[1]))
        return pairs  # type: ignore[return-value]

    def _product(self, x: str, name: str, weight: np.ndarray) -> str:
        return self.graph.node("MatMul", [x, self.graph.weight(name, weight)], f"{name}.product")

    def _blocks(
        self,
        blocks: BlockWeights,
        name: str,
        x: str,
        places: Places,
        slabs: list[tuple[tuple[str, str], tuple[str, str]]],
        call: str = "",
    ) -> str:
        """x [B * S, width] -> normed behind the last block. `call` tells apart several uses of one stack."""
        graph = self.graph
        h = graph.rms_norm(x, graph.weight(f"{name}.norm_in", blocks.norm_in), f"{name}{call}.normed", blocks.epsilon)
        for at, layer in enumerate(blocks.layers):
            stored, here = f"{name}.{at}", f"{name}{call}.{at}"

            def product(h: str, part: str, weight: np.ndarray, stored: str = stored, here: str = here) -> str:
                return graph.node("MatMul", [h, graph.weight(f"{stored}.{part}", weight)], f"{here}.{part}_rows")

            norms = (
                graph.weight(f"{stored}.q_norm", layer.query_norm),
                graph.weight(f"{stored}.k_norm", layer.key_norm),
            )
            packed = product(h, "packed", layer.packed)
            mixed = attention(graph, blocks.heads, places, packed, norms, *slabs[at], here, self.form)
            x, h = self._sum(
                product(mixed, "out", layer.out), x, f"{stored}.mlp", f"{here}.mlp", layer.mlp_norm, blocks
            )
            gate, up = product(h, "gate", layer.gate), product(h, "up", layer.up)
            gated = self._gated(gate, up, layer.gate.shape[1], f"{here}.gated")
            lowered = product(gated, "down", layer.down)
            x, h = self._sum(lowered, x, f"{stored}.next", f"{here}.next", layer.next_norm, blocks)
        return h

    def _gated(self, gate: str, up: str, width: int, output: str) -> str:
        """up * silu(gate). Beside an epsilon that outweighs the mean of squares a norm divides by a constant, which its
        scale takes back: one kernel for two. It is the same to 1e-5 while the mean is below 20,000."""
        graph = self.graph
        if self.form is not Attend.GROUPED:
            silu = graph.node("QuickGelu", [gate], f"{output}.silu", domain=MICROSOFT, alpha=1.0)
            return graph.node("Mul", [silu, up], output)
        scale = graph.weight(f"unscaled.{width}", np.full(width, 2.0**15, np.float32))
        return graph.node(
            "GatedRMSNorm", [up, scale, gate], output, domain=MICROSOFT, activation="silu", epsilon=2.0**30
        )

    def _sum(
        self, added: str, x: str, stored: str, here: str, norm: np.ndarray, blocks: BlockWeights
    ) -> tuple[str, str]:
        """-> the sum so far, and the sum normed"""
        self.graph.node(
            "SkipSimplifiedLayerNormalization",
            [added, x, self.graph.weight(stored, norm)],
            [f"{here}_normed", "", "", f"{here}_sum"],
            domain=MICROSOFT,
            epsilon=blocks.epsilon,
        )
        return f"{here}_sum", f"{here}_normed"

    # -- sampling --------------------------------------------------------------------------------------------------

    def _noise(self) -> list[str]:
        """-> for each code [B, most]: what is added to its likeliest logits, the likeliest first."""
        graph, count, most = self.graph, self.weights.codebooks, self.weights.most_likely
        at = graph.input("noise_at", TensorProto.INT64, ["B"])
        table = graph.input("noise_table", TensorProto.FLOAT, ["N"])
        temperature = graph.input("temperature", TensorProto.FLOAT, ["B", count])
        top_k = graph.input("top_k", TensorProto.INT64, ["B", count])
        ramp = graph.constant("noise_ramp", np.arange(count * most).reshape(1, count, most))
        places = graph.node("Add", [graph.reshape(at, [-1, 1, 1], "noise_rows"), ramp], "noise_places")
        drawn = graph.node("Gather", [table, places], "noise_drawn")
        scaled = graph.node("Mul", [drawn, graph.reshape(temperature, [0, 0, 1], "temperatures")], "noise_scaled")
        ranks = graph.constant("ranks", np.arange(most)[None, None])
        within = graph.node("Less", [ranks, graph.reshape(top_k, [0, 0, 1], "top_ks")], "within")
        kept = graph.node("Where", [within, scaled, graph.constant("never", np.float32(_NEVER))], "noise_kept")
        parts = [f"noise.{q}" for q in range(count)]
        graph.node("Split", [kept], parts, axis=1, num_outputs=count)
        return [graph.reshape(part, [-1, most], f"{part}.row") for part in parts]

    def _first(self, logits: str, noise: str) -> str:
        """Code 0: codes generated before are damped, an early end and control ids impossible, and top-p holds."""
        graph, weights, most = self.graph, self.weights, self.weights.most_likely
        generated = graph.input("generated", TensorProto.BOOL, ["B", weights.vocabulary])
        damping = graph.input("damping", TensorProto.FLOAT, ["B", 2])  # of logits below 0, and of others
        may_end = graph.input("may_end", TensorProto.INT64, ["B"])
        top_p = graph.input("top_p", TensorProto.FLOAT, ["B"])
        sharpness = graph.input("sharpness", TensorProto.FLOAT, ["B"])  # 1 / temperature; greedy: 1
        zero = graph.constant("zero", np.float32(0))
        graph.node("Split", [damping], ["damping.below", "damping.above"], axis=1, num_outputs=2)
        below = graph.node("Less", [logits, zero], "below")
        factor = graph.node("Where", [below, "damping.below", "damping.above"], "factor")
        damped = graph.node("Where", [generated, graph.node("Mul", [logits, factor], "lowered"), logits], "damped")
        refusals = graph.node("Gather", [graph.constant("refusals", weights.refusals), may_end], "refused")
        values, ids = self._likeliest(graph.node("Add", [damped, refusals], "allowed"), "code0")
        sharp = graph.node("Mul", [values, graph.reshape(sharpness, [-1, 1], "sharpness_rows")], "sharp")
        open_ranks = graph.node("Greater", [noise, graph.constant("least", np.float32(-1e30))], "open_ranks")
        never = graph.constant("never", np.float32(_NEVER))
        shares = graph.node(
            "Softmax", [graph.node("Where", [open_ranks, sharp, never], "open_sharp")], "shares", axis=-1
        )
        before = graph.node("CumSum", [shares, graph.constant("rank_axis", np.array(1))], "before", exclusive=1)
        inside = graph.node("Less", [before, graph.reshape(top_p, [-1, 1], "top_p_rows")], "nucleus")
        code = self._drawn(values, ids, graph.node("Where", [inside, noise, never], "nucleus_noise"), "code0")
        codes = graph.constant("codes_in_order", np.arange(weights.vocabulary)[None])
        spoken = graph.node("Equal", [codes, graph.reshape(code, [-1, 1], "code0.row")], "spoken")
        active = graph.reshape("is_active", [-1, 1], "active_code_rows")
        spoken = graph.node("And", [spoken, active], "spoken_now")
        graph.node(
            "Or", [generated, spoken], graph.output("generated_out", TensorProto.BOOL, ["B", weights.vocabulary])
        )
        assert most <= weights.vocabulary
        return code

    def _likeliest(self, logits: str, name: str) -> tuple[str, str]:
        most = self.graph.constant("most", np.array([self.weights.most_likely]))
        outputs = [f"{name}.values", f"{name}.ids"]
        self.graph.node("TopK", [logits, most], outputs, axis=-1)
        return outputs[0], outputs[1]

    def _drawn(self, values: str, ids: str, noise: str, name: str) -> str:
        """values [B, most] float32, noise [B, most] -> code [B]"""
        graph = self.graph
        noisy = graph.node("Add", [values, noise], f"{name}.noisy")
        rank = graph.node("ArgMax", [noisy], f"{name}.rank", axis=-1, keepdims=1)
        return graph.reshape(graph.node("GatherElements", [ids, rank], f"{name}.id", axis=1), [-1], name)

    # -- the predictor ---------------------------------------------------------------------------------------------

    def _inner(self, hidden: str, first: str, noise: list[str]) -> list[str]:
        """Codes 1 to Q - 1. Position 0 is the talker's hidden state, position q the code q - 1."""
        graph, weights, blocks = self.graph, self.weights, self.weights.predictor
        rotary = graph.weight("inner_cosine", weights.inner_cosine), graph.weight("inner_sine", weights.inner_sine)
        slabs = self._inner_slabs()
        seen = hidden
        if weights.projection is not None:
            bias = graph.weight("projection_bias", weights.projection[1])
            seen = graph.node("Add", [self._product(hidden, "projection", weights.projection[0]), bias], "seen")
        code, codes = first, []
        for q in range(1, weights.codebooks):
            table = graph.weight(f"inner_table.{q - 1}", weights.inner_rows(q - 1))
            vector = graph.node("Gather", [table, code], f"inner.{q}.vector")
            steps = 2 if q == 1 else 1
            x = vector
            if steps == 2:
                both = [graph.reshape(one, [-1, 1, weights.inner_width], f"{one}.step") for one in (seen, vector)]
                pair = graph.node("Concat", both, "inner.pair", axis=1)
                x = graph.reshape(pair, [-1, weights.inner_width], "inner.pair_rows")
            places = self._inner_places(q, steps, rotary)
            h = self._blocks(blocks, "inner", x, places, slabs[q - 1], f".{q}")
            if steps == 2:  # the second of the pair speaks
                pair = graph.reshape(h, [-1, 2, weights.inner_width], "inner.spoken_pair")
                h = graph.node("Gather", [pair, graph.constant("second", np.array(1))], "inner.spoken", axis=1)
            logits = self._product(h, f"inner.head.{q}", weights.inner_heads[q - 1])
            values, ids = self._likeliest(logits, f"code{q}")
            code = self._drawn(graph.to_float32(values, f"code{q}.wide"), ids, noise[q], f"code{q}")
            codes.append(code)
        return codes

    def _inner_places(self, q: int, steps: int, rotary: tuple[str, str]) -> Places:
        graph, name = self.graph, f"inner{q}"
        before = 0 if steps == 2 else q
        lengths = graph.input(f"inner_at{before}", TensorProto.INT32, ["B"])
        places = Places(graph, name, lengths, steps, before + steps, rotary, grows=self.form is Attend.MASKED)
        if steps == 2 and self.form is Attend.GROUPED:
            graph.input("inner_at1", TensorProto.INT32, ["B"])
            graph.node("Identity", ["inner_at1"], f"{name}.newest")
        return places

    def _inner_slabs(self) -> list[list[tuple[tuple[str, str], tuple[str, str]]]]:
        """By call and layer: each call reads what the one before wrote. The first ones are cut from memory that need
        not hold anything: an operator updates in place what the graph made, not what it was given. Under a mask there
        is none, and each call makes its own."""
        graph, blocks, count = self.graph, self.weights.predictor, self.weights.codebooks
        layers = range(len(blocks.layers))
        names = [[(f"inner{call}_k{layer}", f"inner{call}_v{layer}") for layer in layers] for call in range(count)]
        if self.form is Attend.MASKED:
            names[0] = [("", "")] * len(layers)
            return self._pairs(names)
        shape: list[str | int] = ["B", 2 * len(layers) * blocks.heads.kv_heads, count, blocks.heads.head_dim]
        scratch = graph.input("inner_slabs", graph.type, shape)
        parts = [name for pair in names[0] for name in pair]
        graph.node("Split", [scratch], parts, axis=1, num_outputs=len(parts))
        return self._pairs(names)

    @staticmethod
    def _pairs(names: list[list[tuple[str, str]]]) -> list[list[tuple[tuple[str, str], tuple[str, str]]]]:
        return [[*zip(old, new, strict=True)] for old, new in pairwise(names)]
