"""Attention whose queries see a fixed number of steps back, written so that the layers of a decoder are the same nodes:
one kernel can stand for each. Masks are made in every layer; the runtime keeps one of equal nodes.

    keys       [position - kept ... position - 1 | position ... position + T - 1]
    query p    sees keys in [p - kept, p], none before 0
"""

from __future__ import annotations

import numpy as np

from models.exporting.pocket.layers import END, Layers


def window_attention(graph: Layers, packed: str, heads: int, dim: int, kept: int, layer: int) -> str:
    """packed [B, T, 3 heads, dim], input `position` [B] -> `layerN.window` [B, T, heads, dim]"""
    name = f"layer{layer}."
    mask = _mask(graph, packed, kept, name)
    parts = [f"{name}queries_keys", f"{name}values"]
    graph.node("Split", [packed, graph.constant(f"{name}parts", 2 * heads, heads)], parts, axis=2)
    rotated = _rotated(graph, parts[0], name)
    graph.node("Split", [rotated], [f"{name}queries", f"{name}keys"], axis=2, num_outputs=2)
    by_head = {
        kind: graph.node("Transpose", [f"{name}{kind}"], f"{name}{kind}_by_head", perm=[0, 2, 1, 3])
        for kind in ("queries", "keys", "values")
    }
    whole = {}
    for kind, letter in (("keys", "k"), ("values", "v")):
        past = graph.state(f"{letter}{layer}", [heads, kept, dim])
        whole[kind] = graph.node("Concat", [past, by_head[kind]], f"{name}all_{kind}", axis=2)
        graph.slice(whole[kind], -kept, END, 2, f"{letter}{layer}_out")
    across = graph.node("Transpose", [whole["keys"]], f"{name}keys_across", perm=[0, 1, 3, 2])
    scores = graph.node("MatMul", [by_head["queries"], across], f"{name}scores")
    shares = graph.node("Softmax", [graph.node("Add", [scores, mask], f"{name}masked")], f"{name}shares", axis=-1)
    mixed = graph.node("MatMul", [shares, whole["values"]], f"{name}mixed")
    return graph.node("Transpose", [mixed], f"{name}window", perm=[0, 2, 1, 3])


def _rotated(graph: Layers, x: str, name: str) -> str:
    first, second = f"{name}first_half", f"{name}second_half"
    graph.node("Split", [x], [first, second], axis=-1, num_outputs=2)
    here = {}
    for table in ("cosines", "sines"):
        found = graph.node("Gather", [table, f"{name}query_places"], f"{name}{table}_here")
        here[table] = graph.node(
            "Unsqueeze", [found, graph.constant(f"{name}{table}_axis", 2)], f"{name}{table}_by_head"
        )

    def turned(plus: str, minus: str, kind: str, end: str) -> str:
        left = graph.node("Mul", [plus, here["cosines"]], f"{name}{end}_left")
        right = graph.node("Mul", [minus, here["sines"]], f"{name}{end}_right")
        return graph.node(kind, [left, right], f"{name}{end}")

    both = [turned(first, second, "Sub", "turned_first"), turned(second, first, "Add", "turned_second")]
    return graph.node("Concat", both, f"{name}rotated", axis=-1)


def _mask(graph: Layers, packed: str, kept: int, name: str) -> str:
    """[B, 1, T, kept + T]: `near` where a query sees a key, else `far`; and `query_places` [B, T]"""

    def node(kind: str, inputs: list[str], end: str) -> str:
        return graph.node(kind, inputs, f"{name}{end}")

    zero, step, width = (graph.exact(f"{name}{end}", np.array(value)) for end, value in _whole(kept))
    axis1, axis2 = graph.constant(f"{name}axis1", 1), graph.constant(f"{name}axis2", 2)
    new_steps = graph.node("Shape", [packed], f"{name}new_steps", start=1, end=2)
    count = node("Squeeze", [new_steps], "count")
    new_places = node("Range", [zero, count, step], "new_places")
    first_place = node("Unsqueeze", ["position", axis1], "first_place")
    query_places = node("Add", [first_place, new_places], "query_places")
    key_count = node("Add", [count, width], "key_count")
    key_offsets = node("Range", [zero, key_count, step], "key_offsets")
    oldest_place = node("Sub", [first_place, width], "oldest_place")
    key_places = node("Add", [oldest_place, key_offsets], "key_places")
    keys = node("Unsqueeze", [key_places, axis1], "keys_3")
    queries = node("Unsqueeze", [query_places, axis2], "queries_3")
    age = node("Sub", [queries, keys], "age")
    is_there = node("GreaterOrEqual", [keys, zero], "is_there")
    is_past = node("GreaterOrEqual", [age, zero], "is_past")
    is_near = node("LessOrEqual", [age, width], "is_near")
    both = node("And", [is_there, is_past], "is_there_and_past")
    seen = node("And", [both, is_near], "is_seen")
    return node("Unsqueeze", [node("Where", [seen, "near", "far"], "mask_3"), axis1], "mask")


def _whole(kept: int) -> tuple[tuple[str, int], ...]:
    return ("zero", 0), ("step", 1), ("kept", kept)
