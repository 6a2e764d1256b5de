"""Are the live word times true? Compares them with a forced alignment: python -m models.judge.word_times

Every sentence is spoken in this process, its word times as a client gets them, and aligned by pocketsphinx. With the
teacher's program the same aligner is also held against the teacher's own times, which are exact: that row is the
ruler's own error, and the aligner's systematic offset is read from it.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.bundle import load_bundle
from engines.loop import Engine, EngineConfig
from engines.synth import speak
from engines.text import FrontEnd
from models.judge import teacher
from models.judge.aligner import SAMPLE_RATE_HZ, Aligner, Span

LISTS = Path(__file__).parent / "lists"
MEDIAN_BAR_MS, P95_BAR_MS = 60.0, 150.0
SEED = 1

Figures = dict[str, float]


def sentences(aligner: Aligner, lists: list[str], limit: int) -> list[str]:
    """Those in which every token is one word that the aligner knows."""
    front_end = FrontEnd.load()
    found = []
    for name in lists:
        texts = (LISTS / f"{name}.txt").read_text().splitlines()
        usable = [text for text in texts if _usable(front_end, aligner, text)]
        found += usable[:limit]
    return found


def _usable(front_end: FrontEnd, aligner: Aligner, text: str) -> bool:
    words = _plain_words(text)
    said = front_end.normalise(text).split()
    return len(said) == len(text.split()) == len(words) and all(aligner.knows(word) for word in words)


def _plain_words(text: str) -> list[str]:
    return [re.sub(r"[^a-z']", "", word) for word in text.lower().split()]


def errors_ms(ours: list[Span], aligned: list[Span]) -> NDArray[np.float64]:
    """Our boundaries minus the aligner's, [words, start and end], in milliseconds."""
    return 1000 * (np.array(ours, np.float64) - np.array(aligned, np.float64))


def figures(errors: list[NDArray[np.float64]]) -> Figures:
    """Of absolute errors; `offset` is the median of the signed ones: positive when ours are late."""
    every = np.concatenate(errors)
    row: Figures = {"words": float(len(every))}
    for name, values in (("start", every[:, 0]), ("end", every[:, 1]), ("both", every.ravel())):
        row[f"{name}_median_ms"] = float(np.median(np.abs(values)))
        row[f"{name}_p95_ms"] = float(np.percentile(np.abs(values), 95))
        row[f"{name}_offset_ms"] = float(np.median(values))
    return row


def of_engine(engine: Engine, aligner: Aligner, voice: str, texts: list[str]) -> tuple[Figures, int]:
    """The figures, and how many sentences could not be aligned."""
    errors, failed = [], 0
    for text in track(texts, description=f"{voice}: speaking and aligning"):
        spoken = speak(engine, text, voice=voice, seed=SEED, sample_rate_hz=SAMPLE_RATE_HZ)
        ours = [(word.start_s, word.end_s) for word in spoken.words]
        aligned = aligner.align(np.frombuffer(spoken.pcm, np.int16), _plain_words(text))
        if aligned is None or len(ours) != len(aligned):
            failed += 1
        else:
            errors.append(errors_ms(ours, aligned))
    return figures(errors), failed


def of_teacher(program: Path, aligner: Aligner, voice: str, texts: list[str]) -> tuple[Figures, int]:
    errors, failed = [], 0
    for text, (samples, true) in zip(texts, teacher.speak_timed(program, voice, texts), strict=True):
        aligned = aligner.align(samples, _plain_words(text))
        if aligned is None or len(true) != len(aligned):
            failed += 1
        else:
            errors.append(errors_ms(true, aligned))
    return figures(errors), failed


def write(rows: dict[str, Figures], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rounded = {what: {name: round(value, 1) for name, value in row.items()} for what, row in rows.items()}
    (out / "word-times.json").write_text(json.dumps(rounded, indent=1) + "\n")
    names = [f"{part}_{kind}_ms" for part in ("start", "end", "both") for kind in ("median", "p95", "offset")]
    lines = [
        "# Word times against a forced alignment",
        "",
        "Made by `python -m models.judge.word_times`. Milliseconds; median and 95th percentile of absolute errors,",
        "median of signed ones (positive: our time is later). The teacher's rows compare its own exact times with the",
        f"same aligner: the ruler's own error. Bars: median at most {MEDIAN_BAR_MS:.0f}, p95 at most {P95_BAR_MS:.0f}.",
        "",
        "| what | words | " + " | ".join(name.removesuffix("_ms").replace("_", " ") for name in names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for what, row in rounded.items():
        cells = " | ".join(f"{row[name]:.0f}" for name in names)
        lines.append(f"| {what} | {row['words']:.0f} | {cells} |")
    (out / "word-times.md").write_text("\n".join(lines) + "\n")
    Console(width=140).print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--voices", default="rms,slt")
    parser.add_argument("--lists", default="everyday,harvard,closed")
    parser.add_argument("--limit", type=int, default=20, help="sentences of each list")
    parser.add_argument("--teacher", type=Path, help="the compiled flite_speak: adds the ruler's own error")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    aligner = Aligner()
    texts = sentences(aligner, arguments.lists.split(","), arguments.limit)
    engine = Engine(load_bundle(arguments.bundle), EngineConfig(workers=False))
    rows: dict[str, Figures] = {}
    for voice in arguments.voices.split(","):
        rows[f"{voice}, live times"], failed = of_engine(engine, aligner, voice, texts)
        rows[f"{voice}, live times"] |= {"sentences": len(texts), "not_aligned": failed}
        if arguments.teacher:
            row, failed = of_teacher(arguments.teacher, aligner, voice, texts)
            rows[f"{voice}, teacher's times"] = row | {"sentences": len(texts), "not_aligned": failed}
    engine.close()
    write(rows, arguments.out)


if __name__ == "__main__":
    main()
