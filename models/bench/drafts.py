"""What drafts bring at each load: python -m models.bench.drafts [--bundle DIR] [--out docs/measurements]

All streams speak at once, unpaced, with drafts off, always on, and by the engine's own switch, in turns. Codes are
compared as well: the three ways must say the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime
from rich.progress import track

from engines.benchmark import TEXT
from engines.bundle import Bundle, load_bundle
from engines.config import DraftMode, EngineConfig
from engines.loop import Engine
from engines.messages import Append, Chunk, EndText, Finished, Submit

STREAMS = (1, 2, 4, 8, 16)
COUNTED = ("tokens", "lm_rows", "drafts_proposed", "drafts_accepted")


def speak(engine: Engine, streams: int) -> tuple[str, float]:
    """A digest of all audio, and its seconds."""
    digest, audio_s, left = [hashlib.sha256() for _ in range(streams)], 0.0, streams
    for index in range(streams):
        voice = engine.bundle.voices[index % len(engine.bundle.voices)].id
        engine.submit(Submit(request_id=str(index), voice=voice, seed=index))
        engine.submit(Append(request_id=str(index), text=TEXT))
        engine.submit(EndText(request_id=str(index)))
    while left:
        for event in engine.step():
            match event:
                case Chunk(request_id=name, pcm=pcm):
                    digest[int(name)].update(pcm)
                case Finished(timings=timings):
                    audio_s += timings.audio_s
                    left -= 1
        if left and not engine.has_work:
            engine.wait(1.0)
    return "".join(one.hexdigest() for one in digest), audio_s


def measure(bundle: Bundle, streams: int, rounds: int) -> dict[str, Any]:
    engines = {}
    for mode in DraftMode:
        most = max(2, streams) if mode is DraftMode.ON else 2
        config = EngineConfig(slots=streams, drafts=mode, draft_rows=most, sheds=False)
        engines[mode] = Engine(bundle, config)
        speak(engines[mode], streams)  # memory, bindings, and what the switch learns
    rows: dict[str, dict[str, list[float]]] = {mode.value: {} for mode in DraftMode}
    said = set()
    for _ in range(rounds):
        for mode, engine in engines.items():
            before, started_s = engine.stats(), time.perf_counter()
            digest, audio_s = speak(engine, streams)
            wall_s, after = time.perf_counter() - started_s, engine.stats()
            said.add(digest)
            made = {name: count - before.counters[name] for name, count in after.counters.items() if name in COUNTED}
            found = {
                "tokens_per_row": made["tokens"] / made["lm_rows"],
                "accepted_share": made["drafts_accepted"] / max(1, made["drafts_proposed"]),
                "lm_ms_per_audio_s": 1000 * (after.lm_busy_s - before.lm_busy_s) / audio_s,
                "real_time_factor": wall_s / audio_s,
            }
            for name, value in found.items():
                rows[mode.value].setdefault(name, []).append(value)
    for engine in engines.values():
        engine.close()
    figures: dict[str, Any] = {
        mode: {name: round(median(values), 4) for name, values in row.items()} for mode, row in rows.items()
    }
    pairs = zip(rows["off"]["real_time_factor"], rows["auto"]["real_time_factor"], strict=True)
    figures["auto_speed_over_off"] = round(median(off / auto for off, auto in pairs), 3)
    return {"streams": streams, "same_bytes": len(said) == 1} | figures


def page(figures: dict[str, Any]) -> str:
    lines = [
        "# Drafts",
        "",
        f"`python -m models.bench.drafts`, {figures['machine']}, ONNX Runtime {figures['onnxruntime']}; medians of",
        f"{figures['rounds']} turns. All streams speak at once and nobody paces them. The three ways said the same",
        "bytes: " + ("yes." if all(row["same_bytes"] for row in figures["rows"]) else "**no**."),
        "",
        "| streams | drafts | tokens a row of a call | guesses accepted | LM ms per audio s | RTF, end to end |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        for mode in ("off", "on", "auto"):
            one = row[mode]
            cells = [row["streams"], mode, f"{one['tokens_per_row']:.2f}", f"{one['accepted_share']:.0%}"]
            cells += [f"{one['lm_ms_per_audio_s']:.2f}", f"{one['real_time_factor']:.4f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "`auto` is what the engine does: speed over `off`, median of pairs: "]
    lines[-1] += ", ".join(f"{row['auto_speed_over_off']:.2f} at {row['streams']}" for row in figures["rows"]) + "."
    lines.append(
        "LM time is inside the checking or plain graph; the drafter's own and Python's are in the last column."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    rows = [measure(bundle, streams, arguments.rounds) for streams in track(STREAMS, description="speaking")]
    figures = {
        "machine": f"a machine of {os.cpu_count()} cores ({platform.machine()})",
        "rounds": arguments.rounds,
        "rows": rows,
    }
    figures["onnxruntime"] = onnxruntime.__version__
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "drafts.json").write_text(json.dumps(figures, indent=1) + "\n")
    (arguments.out / "drafts.md").write_text(page(figures))
    print(page(figures))


if __name__ == "__main__":
    main()
