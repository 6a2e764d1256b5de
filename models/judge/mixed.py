"""Hundreds of awkward texts: nothing hangs, runs away or is skipped: python -m models.judge.mixed

Each is spoken in this process and compared in length with the teacher speaking *our* normalised words with our pauses.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.errors import UnspeakableText
from engines.families.phone_pointer.bundle import load_bundle
from engines.synth import SpokenText, speak
from engines.text import FrontEnd
from models.judge import teacher

console = Console()
LISTS = Path(__file__).parent / "lists"
RATE_HZ = 16_000
LOUD = 330  # of 32,768: -40 dBFS
_WORDS = (
    "river stone garden letter window morning paper yellow seven music doctor winter simple answer market travel "
    "police summer coffee silver object member season forest bridge people minute dinner famous island"
).split()


def texts(count: int = 300, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    pick = rng.choice
    found = [*list("abcxyz"), "I", "No.", "OK?", "Hi!", "7", "3.14", "...and then", "e.g. this", "etc.", "A B C"]
    found += [
        "привет мир",
        "Γειά σου",
        "naïve café résumé",
        "hello 😀 world",
        "👍 thumbs up",
        "你好 hello",
        "tab\there\nnew",
    ]
    found += [
        "x" * 40,
        "a-b-c-d",
        "rock'n'roll",
        "**bold** and _thin_",
        "# Title",
        "- item one\n- item two",
        "`code()`",
    ]
    found += [" ".join(pick(_WORDS) for _ in range(200)), ("Sentence number one. " * 300)[:4096].strip()]
    patterns = (
        lambda: f"It costs ${rng.randint(1, 9999)}.{rng.randint(10, 99)}.",
        lambda: f"Call {rng.randint(200, 999)}-{rng.randint(200, 999)}-{rng.randint(1000, 9999)} now.",
        lambda: f"See https://www.{pick(_WORDS)}.com/{pick(_WORDS)}?id={rng.randint(1, 99)}",
        lambda: f"Write to {pick(_WORDS)}.{pick(_WORDS)}@example.org, please.",
        lambda: f"On {rng.randint(1, 12)}/{rng.randint(1, 28)}/{rng.randint(1990, 2030)} at {rng.randint(1, 12)}:45pm.",
        lambda: f"About {rng.randint(1, 400)} {pick(['km', 'kg', 'mph', '%', 'MB', 'ms', '°C'])} of {pick(_WORDS)}.",
        lambda: (
            f"{pick(['NASA', 'The FBI', 'An API', 'The USA', 'Our CPU'])} said {pick(_WORDS)} {rng.randint(0, 10**6)}."
        ),
        lambda: f"Dr. {pick(_WORDS).capitalize()} vs. Mrs. {pick(_WORDS).capitalize()}, {rng.randint(1, 31)}th floor!",
        lambda: " ".join(pick(_WORDS) for _ in range(rng.randint(1, 30))) + pick([".", "?", "!", "", ","]),
        lambda: f"{pick(_WORDS).capitalize()}, {pick(_WORDS)} and {pick(_WORDS)}; {pick(_WORDS)}: ({pick(_WORDS)})!",
    )
    while len(found) < count:
        found.append(pick(patterns)())
    return found


def check(engine: Engine, front_end: FrontEnd, text: str) -> tuple[SpokenText, list[str]]:
    """Speaks `text`; returns it and what was wrong."""
    wrong = []
    phones = front_end.phones(text)
    spoken = speak(engine, text, sample_rate_hz=RATE_HZ)
    if spoken.timings.guards:
        wrong.append(f"guards: {spoken.timings.guards}")
    tokens = {phone.word_index for phone in phones if phone.word_index is not None}
    if len(spoken.words) < len(tokens):
        wrong.append(f"{len(tokens) - len(spoken.words)} of {len(tokens)} words skipped")
    return spoken, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("flite"))
    parser.add_argument("--teacher", type=Path, default=Path("work/teacher/flite_speak"))
    parser.add_argument("--count", type=int, default=500, help="the first 300 are the list of earlier figures")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    engine = load_engine(load_bundle(arguments.bundle), EngineConfig(workers=False))
    front_end = FrontEnd.load()
    problems, ratios, ours, refused = [], [], [], 0
    for text in track(texts(arguments.count), description="speaking"):
        try:
            spoken, wrong = check(engine, front_end, text)
        except UnspeakableText:
            refused += 1
            continue
        problems += [f"{text[:60]!r}: {one}" for one in wrong]
        ours.append((text, speech_seconds(np.frombuffer(spoken.pcm, np.int16))))
    voice = engine.spec.voices[0].id
    theirs = teacher.speak(arguments.teacher, voice, [front_end.script(text) for text, _ in ours])
    for (text, seconds), samples in zip(ours, theirs, strict=True):
        ratios.append((seconds / speech_seconds(samples), text))
    figures = {
        "texts": len(ours) + refused,
        "refused_by_name": refused,
        "problems": len(problems),
        "compared": len(ratios),
        "duration_ratio_median": float(np.median([ratio for ratio, _ in ratios])),
        "duration_ratio_min": min(ratios)[0],
        "duration_ratio_max": max(ratios)[0],
        "outside_0.85_1.2_of_the_first_300": sum(not 0.85 <= ratio <= 1.2 for ratio, _ in ratios[:300]),
        "outside_0.9_1.15": sum(not 0.9 <= ratio <= 1.15 for ratio, _ in ratios),
    }
    console.print(figures)
    for problem in problems[:20]:
        console.print(problem)
    for ratio, text in sorted(ratios)[:8] + sorted(ratios)[-8:]:
        console.print(f"{ratio:.2f} {text[:70]!r}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "mixed-texts.json").write_text(json.dumps(figures, indent=1) + "\n")


def speech_seconds(samples: np.ndarray) -> float:
    """From the first to the last audible sample; how much silence surrounds an utterance is not its length."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > LOUD)
    return float(loud[-1] - loud[0]) / RATE_HZ if len(loud) else 0.0


if __name__ == "__main__":
    main()
