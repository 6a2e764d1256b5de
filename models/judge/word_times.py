"""Are the live word times true? Compares them with a forced alignment: python -m models.judge.word_times

Every sentence is spoken in this process, its word times as a client gets them, and aligned by pocketsphinx. With the
teacher's program the same aligner is also held against the teacher's own times, which are exact: that row is the
ruler's own error, and the aligner's systematic offset is read from it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import load_bundle
from engines.synth import speak
from engines.text import FrontEnd
from models.judge import teacher
from models.judge.aligner import SAMPLE_RATE_HZ, Aligner, Span

LISTS = Path(__file__).parent / "lists"
MEDIAN_BAR_MS, P95_BAR_MS = 40.0, 100.0
SEED = 1

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    text: str
    words: list[str]  # as spoken
    counts: list[int]  # spoken words of each token that has a word time


def sentences(aligner: Aligner, lists: list[str], limit: int) -> list[Sentence]:
    """Those whose spoken words the aligner knows."""
    front_end = FrontEnd.load()
    found = []
    for name in lists:
        read = [read_sentence(front_end, text) for text in (LISTS / f"{name}.txt").read_text().splitlines()]
        found += [one for one in read if one and all(aligner.knows(word) for word in one.words)][:limit]
    return found


def read_sentence(front_end: FrontEnd, text: str) -> Sentence | None:
    """None when its tokens cannot be told apart in what is spoken."""
    words = front_end.normalise(text).split()
    phones = [phone for phone in front_end.phones(text) if phone.word_index is not None]
    starts = Counter(phone.word_index for phone in phones if phone.starts_word)
    counts = [1] * len(words) if len(starts) == len(words) else list(starts.values())
    return Sentence(text=text, words=words, counts=counts) if sum(counts) == len(words) else None


def spans_of_tokens(spans: list[Span], counts: list[int]) -> list[Span]:
    """Of several words read for one token, the first one's start and the last one's end."""
    ends = np.cumsum(counts)
    return [(spans[end - count][0], spans[end - 1][1]) for end, count in zip(ends, counts, strict=True)]


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


def of_engine(engine: Engine, aligner: Aligner, voice: str, texts: list[Sentence], speed: float = 1.0) -> Figures:
    errors = []
    for one in track(texts, description=f"{voice}, speed {speed:g}: speaking and aligning"):
        spoken = speak(engine, one.text, voice=voice, seed=SEED, sample_rate_hz=SAMPLE_RATE_HZ, speed=speed)
        ours = [(word.start_s, word.end_s) for word in spoken.words]
        aligned = aligner.align(np.frombuffer(spoken.pcm, np.int16), one.words)
        if aligned is not None and len(ours) == len(one.counts):
            errors.append(errors_ms(ours, spans_of_tokens(aligned, one.counts)))
    return figures(errors) | {"sentences": len(texts), "not_aligned": len(texts) - len(errors)}


def of_teacher(program: Path, aligner: Aligner, voice: str, texts: list[Sentence]) -> Figures:
    """Without figures and abbreviations, which it reads in words of its own."""
    errors, texts = [], [one for one in texts if max(one.counts) == 1 and one.text.isascii()]
    spoken = teacher.speak_timed(program, voice, [one.text for one in texts])
    for one, (samples, true) in zip(texts, spoken, strict=True):
        aligned = aligner.align(samples, one.words)
        if aligned is not None and len(true) == len(aligned):
            errors.append(errors_ms(true, aligned))
    return figures(errors) | {"sentences": len(texts), "not_aligned": len(texts) - len(errors)}


def write(rows: dict[str, Figures], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rounded = {what: {name: round(value, 1) for name, value in row.items()} for what, row in rows.items()}
    (out / "word-times.json").write_text(json.dumps(rounded, indent=1) + "\n")
    names = [f"{part}_{kind}_ms" for part in ("start", "end", "both") for kind in ("median", "p95", "offset")]
    titles = [name.removesuffix("_ms").replace("_", " ") for name in names]
    lines = [
        "# Word times against a forced alignment",
        "",
        "Made by `python -m models.judge.word_times`. Milliseconds; median and 95th percentile of absolute errors,",
        "median of signed ones (positive: our time is later). The teacher's rows compare its own exact times with the",
        f"same aligner: the ruler's own error. Bars: median at most {MEDIAN_BAR_MS:.0f}, p95 at most {P95_BAR_MS:.0f}.",
        "",
        f"| what | sentences | not aligned | words | {' | '.join(titles)} |",
        "|---" * (len(names) + 4) + "|",
    ]
    for what, row in rounded.items():
        cells = " | ".join(f"{row[name]:.0f}" for name in names)
        counts = " | ".join(f"{row[name]:.0f}" for name in ("sentences", "not_aligned", "words"))
        lines.append(f"| {what} | {counts} | {cells} |")
    (out / "word-times.md").write_text("\n".join(lines) + "\n")
    Console(width=140).print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("flite"))
    parser.add_argument("--voices", default="rms,slt")
    parser.add_argument("--lists", default="everyday,harvard,closed,figures")
    parser.add_argument("--speeds", default="1,0.8,1.25")
    parser.add_argument("--limit", type=int, default=20, help="sentences of each list")
    parser.add_argument("--teacher", type=Path, help="the compiled flite_speak: adds the ruler's own error")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    aligner = Aligner()
    texts = sentences(aligner, arguments.lists.split(","), arguments.limit)
    engine = load_engine(load_bundle(arguments.bundle), EngineConfig(workers=False))
    rows: dict[str, Figures] = {}
    for voice in arguments.voices.split(","):
        for speed in arguments.speeds.split(","):
            rows[f"{voice}, speed {speed}"] = of_engine(engine, aligner, voice, texts, float(speed))
        if arguments.teacher:
            rows[f"{voice}, teacher's own"] = of_teacher(arguments.teacher, aligner, voice, texts)
    engine.close()
    write(rows, arguments.out)


if __name__ == "__main__":
    main()
