"""What drafts bring at each load: python -m models.bench.drafts [--bundle DIR] [--out docs/measurements]

All streams speak at once, unpaced, with drafts off, always on, and by the engine's own switch, in rounds. Audio is
compared as well: the three ways must say the same bytes. Two more ways let guesses stand that are one level off; what
they say differs and must be judged by ear, or by `models.judge` against a server with that setting.
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

from rich.progress import track

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.messages import Append, Chunk, EndText, Finished, Submit
from engines.runtime.ort import ort

TEXT = (
    "The ship was due at nine, but the fog had come down over the harbour and nothing moved. "
    "We waited by the wall and talked about the weather, the price of bread and the new bridge."
)

STREAMS = (1, 2, 4, 8, 16)
COUNTED = ("frames", "lm_rows", "drafts_proposed", "drafts_accepted", "drafts_tolerated")
EXACT = {"off": DraftMode.OFF, "on": DraftMode.ON, "auto": DraftMode.AUTO}
NEAR = {"on, tolerance 1": DraftMode.ON, "auto, tolerance 1": DraftMode.AUTO}


def speak(engine: Engine, streams: int) -> tuple[str, float]:
    """A digest of all audio, and its seconds."""
    digest, audio_s, left = [hashlib.sha256() for _ in range(streams)], 0.0, streams
    for index in range(streams):
        voice = engine.spec.voices[index % len(engine.spec.voices)].id
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
    for way, mode in (EXACT | NEAR).items():
        most = max(2, streams) if mode is DraftMode.ON else 2
        tolerance = 1 if way in NEAR else 0
        config = EngineConfig(slots=streams, drafts=mode, draft_rows=most, draft_tolerance=tolerance, sheds=False)
        engines[way] = load_engine(bundle, config)
        speak(engines[way], streams)  # memory, bindings, and what the switch learns
    rows: dict[str, dict[str, list[float]]] = {way: {} for way in engines}
    digests = set()
    for _ in range(rounds):
        for way, engine in engines.items():
            before, started_s = engine.stats(), time.perf_counter()
            digest, audio_s = speak(engine, streams)
            wall_s, after = time.perf_counter() - started_s, engine.stats()
            if way in EXACT:
                digests.add(digest)
            made = {name: count - before.counters[name] for name, count in after.counters.items() if name in COUNTED}
            found = {
                "frames_per_row": made["frames"] / made["lm_rows"],
                "accepted_share": made["drafts_accepted"] / max(1, made["drafts_proposed"]),
                "tolerated_share": made["drafts_tolerated"] / max(1, made["drafts_proposed"]),
                "lm_ms_per_audio_s": 1000 * (after.lm_busy_s - before.lm_busy_s) / audio_s,
                "real_time_factor": wall_s / audio_s,
            }
            for name, value in found.items():
                rows[way].setdefault(name, []).append(value)
    for engine in engines.values():
        engine.close()
    figures: dict[str, Any] = {
        way: {name: round(median(values), 4) for name, values in row.items()} for way, row in rows.items()
    }
    figures["auto_speed_over_off"] = speed_over_off(rows, "auto", "real_time_factor")
    figures["on_lm_speed_over_off"] = speed_over_off(rows, "on", "lm_ms_per_audio_s")
    figures["tolerance_1_lm_speed_over_off"] = speed_over_off(rows, "on, tolerance 1", "lm_ms_per_audio_s")
    return {"streams": streams, "same_bytes": len(digests) == 1} | figures


def speed_over_off(rows: dict[str, dict[str, list[float]]], way: str, measure: str) -> float:
    """Median over the rounds, each beside its own."""
    pairs = zip(rows["off"][measure], rows[way][measure], strict=True)
    return round(median(off / other for off, other in pairs), 3)


def listed(figures: dict[str, Any], name: str) -> str:
    return ", ".join(f"{row[name]:.2f} at {row['streams']}" for row in figures["rows"])


def page(figures: dict[str, Any]) -> str:
    lines = [
        "# Drafts",
        "",
        f"`python -m models.bench.drafts`, {figures['machine']}, ONNX Runtime {figures['onnxruntime']}; medians of",
        f"{figures['rounds']} rounds. All streams speak at once unpaced. The three exact ways gave the",
        "same bytes: " + ("yes." if all(row["same_bytes"] for row in figures["rows"]) else "**no**."),
        "",
        "| streams | drafts | tokens a row of a call | drafts equal to the sample | kept, one level off "
        "| LM ms per audio s | RTF, end to end |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        for way in EXACT | NEAR:
            one = row[way]
            cells = [row["streams"], way, f"{one['frames_per_row']:.2f}", f"{one['accepted_share']:.0%}"]
            cells.append(f"{one['tolerated_share']:.0%}")
            cells += [f"{one['lm_ms_per_audio_s']:.2f}", f"{one['real_time_factor']:.4f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "`auto` is what the engine does: speed over `off`, median of pairs: "]
    lines[-1] += listed(figures, "auto_speed_over_off") + "."
    lines.append(f"LM time, `off` over `on`: {listed(figures, 'on_lm_speed_over_off')};")
    lines.append(f"over `on` with tolerance 1: {listed(figures, 'tolerance_1_lm_speed_over_off')}.")
    lines.append("LM time is the graph, plain or checking, and with drafts the drafter too; Python's part is in the")
    lines.append("last column. Tolerance is off unless asked for and changes the audio: docs/decisions/0009.")
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
    figures["onnxruntime"] = ort.__version__
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "drafts.json").write_text(json.dumps(figures, indent=1) + "\n")
    (arguments.out / "drafts.md").write_text(page(figures))
    print(page(figures))


if __name__ == "__main__":
    main()
