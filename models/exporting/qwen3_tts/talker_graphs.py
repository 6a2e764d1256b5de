"""The talker's two graphs over one file of weights.

step      one frame of each row: talker, code 0, and the code predictor's dependent steps, sampling inside
prefill   positions of one row into its cache, without logits

A position is text plus a frame, both summed from tables: `text` is a text id, `codes` are rows of all codebooks' tables
one after the other, whose last row is zero:

    [0, V)                       codebook 0, with the control, language and speaker ids
    V + (q - 1) * P + code       codebook q
    V + (Q - 1) * P              nothing
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor

from models.checkpoints.qwen3_tts.config import Blocks, TalkerConfig
from models.checkpoints.qwen3_tts.talker import Talker
from models.exporting.blocks import BlockShape, Lengths, SpeechGraph, qwen3_block, rotary
from models.exporting.sampling import declare_sampling, drawn
from models.exporting.weights import WeightFile


def step_graph(
    talker: Talker, weights: WeightFile, positions: int, most: int, steps: Mapping[str, float] | None = None
) -> onnx.ModelProto:
    """`most`: how many of the likeliest codes may be drawn from at all. `steps`: of int8, see `SpeechGraph`."""
    return _stepping(SpeechGraph(weights, steps), talker, positions, most).model("qwen3_tts_step")


def judged_graph(
    talker: Talker, weights: WeightFile, positions: int, most: int, steps: Mapping[str, float]
) -> onnx.ModelProto:
    """The step graph, which also gives out the logits of codes 1 to Q - 1, as `inner_logits1` and on."""
    graph = _stepping(SpeechGraph(weights, steps), talker, positions, most)
    inner = talker.config.code_predictor_config
    for q in range(1, talker.config.num_code_groups):
        graph.node("Identity", [f"predictor.logits{q}"], f"inner_logits{q}")
        graph.output(f"inner_logits{q}", TensorProto.FLOAT, ["B", inner.vocab_size])
    return graph.model("qwen3_tts_judged")


def watched_graph(
    talker: Talker, weights: WeightFile, positions: int, most: int
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The step graph with what int8 must hold: outputs that are the largest magnitudes which entered the blocks'
    products, each with its product's name."""
    graph = _stepping(SpeechGraph(weights), talker, positions, most)
    watched = {}
    for number, (name, x) in enumerate(graph.entering):
        size = graph.node("Abs", [x], f"watched{number}.sizes")
        graph.node("ReduceMax", [size, graph.integers(0, 1)], f"watched{number}", keepdims=0)
        graph.output(f"watched{number}", TensorProto.FLOAT, [])
        watched[f"watched{number}"] = name
    return graph.model("qwen3_tts_watched"), watched


def _stepping(graph: SpeechGraph, talker: Talker, positions: int, most: int) -> SpeechGraph:
    config = talker.config
    values = _values(talker)
    x, present = _talker_rows(graph, values, config, positions, speaker=False)
    hidden = graph.rms_norm(x, "model.norm", values["model.norm.weight"], config.rms_norm_eps, "hidden")
    logits = graph.product(hidden, "codec_head", values["codec_head.weight"], "logits")
    for prefix in ("", "inner_"):
        declare_sampling(graph, prefix)
    graph.input("numbers", TensorProto.FLOAT, ["B", config.num_code_groups])
    numbers = [f"number{q}" for q in range(config.num_code_groups)]
    graph.node("Split", ["numbers"], numbers, axis=1, num_outputs=len(numbers))
    first = drawn(graph, _allowed(graph, config, logits), "", min(most, config.vocab_size), numbers[0], "code0")
    codes = [first, *_predicted(graph, values, config, hidden, first, numbers, most)]
    columns = [graph.node("Unsqueeze", [code, graph.integers(1)], f"{code}.column") for code in codes]
    graph.node("Concat", columns, "frames", axis=1)
    end = graph.node("Equal", [first, graph.integers(config.codec_eos_token_id)], "is_end")
    graph.node("Cast", [end], "end_scores", to=TensorProto.FLOAT)
    nothing = graph.node("Mul", [logits, graph.floats("zero", 0.0)], "nothing")
    summed = graph.node("ReduceSum", [nothing, graph.integers(1)], "nothing.sum", keepdims=0)
    graph.node("Equal", [summed, graph.floats("zero", 0.0)], "is_finite")
    graph.output("frames", TensorProto.INT64, ["B", config.num_code_groups])
    graph.output("end_scores", TensorProto.FLOAT, ["B"])
    graph.output("is_finite", TensorProto.BOOL, ["B"])
    graph.output("logits", TensorProto.FLOAT, ["B", config.vocab_size])
    _declare_cache(graph, config, present)
    return graph


def prefill_graph(
    talker: Talker, weights: WeightFile, positions: int, steps: Mapping[str, float] | None = None
) -> onnx.ModelProto:
    graph, config = SpeechGraph(weights, steps), talker.config
    x, present = _talker_rows(graph, _values(talker), config, positions, speaker=True)
    # Nothing reads the last layer's rows; their sum is given out so that values that are not finite show.
    graph.node("ReduceSum", [x, graph.integers(0, 1)], "checksum", keepdims=1)
    graph.output("checksum", TensorProto.FLOAT, [1, 1])
    _declare_cache(graph, config, present)
    return graph.model("qwen3_tts_prefill")


def _values(talker: Talker) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in talker.state_dict().items()}


def frame_table(values: dict[str, Tensor], config: TalkerConfig) -> Tensor:
    tables = [values[f"code_predictor.model.codec_embedding.{q}.weight"] for q in range(config.num_code_groups - 1)]
    first = values["model.codec_embedding.weight"]
    return torch.cat([first, *tables, torch.zeros(1, first.shape[1])])


def _talker_rows(
    graph: SpeechGraph, values: dict[str, Tensor], config: TalkerConfig, positions: int, *, speaker: bool
) -> tuple[str, list[tuple[str, str]]]:
    """-> x [B * S, width] behind the last block, and each layer's cache"""
    graph.input("text", TensorProto.INT64, ["B", "S"])
    graph.input("codes", TensorProto.INT64, ["B", "S", config.num_code_groups])
    graph.input("seqlens_k", TensorProto.INT32, ["B"])
    graph.input("total_len", TensorProto.INT32, [1])
    lead = graph.node("Shape", ["text"], "lead")
    ids = graph.node("Reshape", ["text", graph.integers(-1)], "text.rows")
    text = graph.table_rows("model.text_embedding", values["model.text_embedding.weight"], ids, "text.embedded")
    for number, output in (("1", "text.hidden"), ("2", "text.projected")):
        at = f"text_projection.linear_fc{number}"
        text = graph.product(text, at, values[f"{at}.weight"], output, values[f"{at}.bias"])
        text = graph.silu(text, "text.silu") if number == "1" else text
    codebooks = config.num_code_groups
    rows = graph.node("Reshape", ["codes", graph.integers(-1, codebooks)], "codes.rows")
    vectors = graph.table_rows("frame_table", frame_table(values, config), rows, "codes.embedded")
    ones = graph.floats("codes.ones", np.ones((1, codebooks)))  # a sum whose order is the same at every batch size
    summed = graph.node("MatMul", [ones, vectors], "codes.kept")
    x = graph.node("Add", [text, graph.node("Squeeze", [summed, graph.integers(1)], "codes.sum")], "x.0")
    if speaker:
        graph.input("speaker", TensorProto.FLOAT, ["B", "S", config.hidden_size])
        vectors = graph.node("Reshape", ["speaker", graph.integers(-1, config.hidden_size)], "speaker.rows")
        x = graph.node("Add", [x, vectors], "x.spoken")
    cosine, sine = rotary(graph, "talker", positions, config.head_dim, config.rope_theta)
    lengths, present = Lengths(last="seqlens_k", total="total_len", cosine=cosine, sine=sine), []
    for layer in range(config.num_hidden_layers):
        past = tuple(graph.input(f"past_{kind}{layer}", TensorProto.FLOAT, _cache_shape(config)) for kind in "kv")
        x, both = qwen3_block(graph, values, _shape(config), f"model.layers.{layer}.", x, lead, lengths, past)
        present.append(both)
    return x, present


def _shape(config: Blocks) -> BlockShape:
    return BlockShape(
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        eps=config.rms_norm_eps,
    )


def _cache_shape(config: TalkerConfig) -> list[str | int]:
    return ["B", config.num_key_value_heads, "T", config.head_dim]


def _declare_cache(graph: SpeechGraph, config: TalkerConfig, present: list[tuple[str, str]]) -> None:
    """The blocks' outputs under the names that the served family binds."""
    names = {name: f"present_{kind}{layer}" for layer, both in enumerate(present) for kind, name in zip("kv", both)}
    for node in graph.nodes:
        for place, name in enumerate(node.output):
            node.output[place] = names.get(name, name)
    for name in names.values():
        graph.output(name, TensorProto.FLOAT, _cache_shape(config))


def _allowed(graph: SpeechGraph, config: TalkerConfig, logits: str) -> str:
    """Tokens that were generated are damped, an end before its time and all control ids are impossible."""
    graph.input("generated", TensorProto.BOOL, ["B", config.vocab_size])
    graph.input("penalty", TensorProto.FLOAT, ["B", 1])
    graph.input("may_end", TensorProto.BOOL, ["B", 1])
    below = graph.node("Less", [logits, graph.floats("zero", 0.0)], "below")
    damped = graph.node(
        "Where",
        [below, graph.node("Mul", [logits, "penalty"], "lowered"), graph.node("Div", [logits, "penalty"], "raised")],
        "damped",
    )
    heard = graph.node("Where", ["generated", damped, logits], "heard")
    control = np.arange(config.vocab_size) >= config.codes
    end = np.arange(config.vocab_size) == config.codec_eos_token_id
    early = graph.node("And", [graph.exact("end_id", end[None]), graph.node("Not", ["may_end"], "too_early")], "early")
    refused = graph.node("Or", [graph.exact("control_ids", (control & ~end)[None]), early], "refused")
    return graph.node("Where", [refused, graph.floats("minus_infinity", -np.inf), heard], "allowed")


def _predicted(
    graph: SpeechGraph,
    values: dict[str, Tensor],
    talker: TalkerConfig,
    hidden: str,
    first: str,
    numbers: list[str],
    most: int,
) -> list[str]:
    """Codes 1 to Q - 1. The predictor's cache lives inside the graph and has Q positions at most."""
    config, at = talker.code_predictor_config, "code_predictor."
    cosine, sine = rotary(graph, "predictor", talker.num_code_groups, config.head_dim, config.rope_theta)
    batch = graph.node("Shape", [hidden], "batch", start=0, end=1)
    table, projected = _predictor_inputs(graph, values, talker, hidden)
    both = [
        graph.node("Unsqueeze", [one, graph.integers(1)], f"{one}.step")
        for one in (projected, graph.table_rows(*table, first, "predictor.code0"))
    ]
    pair = graph.node("Concat", both, "predictor.pair", axis=1)
    x = graph.node("Reshape", [pair, graph.integers(-1, config.hidden_size)], "predictor.x0")
    past = [("", "")] * config.num_hidden_layers
    codes: list[str] = []
    for q in range(1, talker.num_code_groups):
        steps = 2 if q == 1 else 1
        lead = graph.node("Concat", [batch, graph.integers(steps)], f"predictor.lead{q}", axis=0)
        last = graph.node("Expand", [graph.integers(q, kind=np.int32), batch], f"predictor.last{q}")
        lengths = Lengths(last=last, total=graph.integers(q + 1, kind=np.int32), cosine=cosine, sine=sine)
        for layer in range(config.num_hidden_layers):
            x, past[layer] = qwen3_block(
                graph, values, _shape(config), f"{at}model.layers.{layer}.", x, lead, lengths, past[layer], f"call{q}."
            )
        if steps == 2:  # the second of the pair speaks
            pair = graph.reshaped(x, lead, (config.hidden_size,), "predictor.second")
            graph.node("Split", [pair], ["predictor.hidden", "predictor.x1"], axis=1, num_outputs=2)
            x = graph.node("Squeeze", ["predictor.x1", graph.integers(1)], "predictor.row1")
        normed = graph.rms_norm(
            x, f"{at}model.norm", values[f"{at}model.norm.weight"], config.rms_norm_eps, f"predictor.normed{q}"
        )
        head = f"{at}lm_head.{q - 1}"
        logits = graph.product(normed, head, values[f"{head}.weight"], f"predictor.logits{q}")
        codes.append(drawn(graph, logits, "inner_", min(most, config.vocab_size), numbers[q], f"code{q}"))
        if q + 1 < talker.num_code_groups:
            start = graph.integers(talker.vocab_size + (q - 1) * config.vocab_size)
            row = graph.node("Add", [codes[-1], start], f"code{q}.row")
            x = graph.table_rows(*table, row, f"predictor.x.{q}")
    return codes


def _predictor_inputs(
    graph: SpeechGraph, values: dict[str, Tensor], talker: TalkerConfig, hidden: str
) -> tuple[tuple[str, Tensor], str]:
    """The table of what codes are to the predictor, and the talker's hidden state as it sees it. Where its width
    differs, the projection of every code is computed here, once."""
    table = frame_table(values, talker)
    at = "code_predictor.small_to_mtp_projection"
    if f"{at}.weight" not in values:
        return ("frame_table", table), hidden
    weight, bias = values[f"{at}.weight"], values[f"{at}.bias"]
    return ("predictor_table", table @ weight.T + bias), graph.product(hidden, at, weight, "predictor.seen", bias)
