"""Makes docs/measurements/peers.md from the figures of all parts. Pure text in, text out, but for `write`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loadtests.peers import record

Figures = dict[str, Any]


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(columns), *[list(row) for row in rows]]
    width = len(lines[0])
    if any(len(line) != width for line in lines):
        raise ValueError(f"a row has another length than the {width} columns")
    text = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
    return "\n".join([text[0], "|---" * width + "|", *text[1:]])


def middle(spread: dict[str, float], digits: int = 2) -> str:
    """Median with least and greatest."""
    return f"{spread['median']:.{digits}f} ({spread['least']:.{digits}f} to {spread['greatest']:.{digits}f})"


def _origin(figures: Figures) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in figures.get("versions", {}).items())
    return (
        f"{figures['date']}, {figures['machine']}, commit {figures['commit']}, `{figures['command']}`; {versions}. "
        f"Load average over 15 minutes: {figures['load_average_15_min']}."
    )


_SHAPES = {"peer": "The peer shape", "shipped": "Our shipped shape"}


def lm(figures: Figures) -> list[str]:
    parts = [f"Weights: {figures['weights']}. Context grows by 32 around the one named; sampling is not included."]
    for name in _SHAPES:
        one = figures[name]
        shape, ours = one["shape"], one["our_parameters"]
        parts.append(
            f"**{_SHAPES[name]}**: width {shape['width']}, "
            f"{shape['layers']} layers, {shape['heads']}/{shape['kv_heads']} heads of {shape['head_dim']}, "
            f"hidden {shape['hidden']}, vocabulary {shape['vocabulary']}: {one['parameters'] / 1e6:.2f}M; ours has "
            f"{ours['input_table_parameters'] / 1e6:.2f}M more in its input tables."
        )
        rows = [
            (cell["batch"], cell["context"], who, row["setting"], middle(row["step_ms"], 3), row["tokens_per_s"])
            for cell in one["cells"]
            for who, row in cell["rivals"].items()
        ]
        parts.append(table(("batch", "context", "who", "its best setting", "step ms", "tokens/s"), rows))
        ratios = [
            (cell["batch"], cell["context"], label, f"{ratio['of_medians']:.2f}", middle(ratio["rounds"]))
            for cell in one["cells"]
            for label, ratio in cell["ratios"].items()
        ]
        parts.append("Tokens per second, ours over theirs:")
        parts.append(table(("batch", "context", "comparison", "of medians", "round by round"), ratios))
    return parts


def pocket(figures: Figures) -> list[str]:
    rows = [
        (
            size,
            f"{middle(one['theirs_cpu_s_per_audio_s'], 4)}, {one['form']}" if "form" in one else "-",
            middle(one["ours_cpu_s_per_audio_s"], 4) if "form" in one else "-",
            f"{middle(one['times_fewer'], 1)}; {figures['wanted'][size]} wanted" if "form" in one else "-",
            f"{one['theirs_streams']} / {one['ours_streams']}" if "ours_streams" in one else "-",
            f"{middle(one['theirs_ttfa_ms'], 0)} / {middle(one['ours_ttfa_ms'], 0)}" if "form" in one else "-",
        )
        for size, one in figures["sizes"].items()
    ]
    columns = ("size", "their loop, CPU s per audio s", "our server", "times fewer", "streams without a stall")
    return [
        f"Weights: {figures['weights']}. Ours is the whole server with {figures['streams']} listeners in real time, "
        "theirs the package's loop with one text at a time, in its cheaper form. Streams: theirs are a process each.",
        table((*columns, "TTFA ms, theirs / ours"), rows),
    ]


def flite(figures: Figures) -> list[str]:
    rows = []
    for who in ("ours", "flite"):
        one = figures[who]
        whole, fed, streams = one["whole_text"], one["word_each_50_ms"], one["streams"]
        rows.append(
            (
                who,
                f"{whole['ttfa_ms_p50']} / {whole['ttfa_ms_p95']}",
                f"{fed['ttfa_ms_p50']} / {fed['ttfa_ms_p95']}",
                whole["rtf_p50"],
                whole["cpu_s_per_audio_s"],
                f"{streams['held']} of {streams['ladder_went_on_to']}",
                streams["by_cpu_cost_at_most"],
                one["wer"],
            )
        )
    columns = ("who", "audible TTFA ms p50 / p95, whole text", "same, a word every 50 ms", "RTF", "CPU s per audio s")
    return [
        f"{figures['sentences']} sentences ({', '.join(figures['texts'])}), 16 kHz, each server "
        f"{'on one core, listeners on another' if figures['servers_on_one_core'] else 'on all cores'}. Streams held: "
        "at most 1 % of the utterances run dry, none is refused and p95 TTFA stays under 250 ms, in steps. By CPU "
        "cost: what the least cost seen would allow. Flite's edge is a small server of this benchmark.",
        table((*columns, "streams held", "by CPU cost", "WER"), rows),
    ]


def naive(figures: Figures) -> list[str]:
    rows = [
        (
            way,
            middle(figures[way]["audio_s_per_cpu_s"], 1),
            middle(figures[way]["audio_s_per_wall_s"], 1),
            middle(figures[way]["ttfa_ms_p50"], 0),
            middle(figures[way]["ttfa_ms_p95"], 0),
        )
        for way in ("naive", "batched")
    ]
    gain = figures["gain"]
    return [
        f"Bundle {figures['bundle']}, {figures['requests']} requests at once, {figures['audio_s_of_a_round']:.0f} s of "
        f"audio in each of {figures['rounds']} rounds, the same bytes both ways.",
        table(("way", "audio s per CPU s", "audio s per wall s", "TTFA ms p50", "TTFA ms p95"), rows),
        f"Gain of batching: {middle(gain['cpu'])} in CPU time, {middle(gain['wall'])} in wall time.",
    ]


SECTIONS = {
    "lm": ("(a) Decode steps against llama.cpp", lm),
    "pocket": ("(b) pocket-tts' own loop", pocket),
    "flite": ("(c) CMU Flite behind the same protocol", flite),
    "naive": ("(d) One request at a time", naive),
}


def render(parts_found: dict[str, Figures]) -> str:
    """The page, of the parts that were measured."""
    parts = [
        "# Side by side with peers",
        "Made by `make bench-peers`. Medians, least and greatest in brackets; rivals take turns in one run on one "
        "machine. Compare ratios: absolute times are this machine's.",
    ]
    for name, (title, section) in SECTIONS.items():
        parts.append(f"## {title}")
        if name not in parts_found:
            parts.append("Not measured.")
        elif "skipped" in parts_found[name]:
            parts.append(f"Skipped: {parts_found[name]['skipped']}.")
        else:
            parts += [*section(parts_found[name]), _origin(parts_found[name])]
    return "\n\n".join(parts) + "\n"


def found() -> dict[str, Figures]:
    """The figures of every part that has some."""
    files = {name: record.MEASUREMENTS / f"peers-{name}.json" for name in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def write() -> Path:
    path = record.MEASUREMENTS / "peers.md"
    path.write_text(render(found()))
    return path
