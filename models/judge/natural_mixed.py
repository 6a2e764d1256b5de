"""Hundreds of texts of all kinds: lengths beside Kokoro's, nothing runs away, nothing is skipped:

    python -m models.judge.natural_mixed --bundle DIR [--voices af_heart,am_michael]
    python -m models.judge.natural_mixed --durations FILE      before there is a bundle: planned lengths alone

The teacher's side needs no speech: its phone times come from the graph cut before its vocoder. Ours is spoken. Both
lengths run from the first word's start to the last word's end; that our samples follow our times is checked apart, by
words in which nothing is heard and by sound behind the last word.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.engine import Engine
from engines.errors import UnspeakableText
from engines.synth import SpokenText, speak
from engines.text import FrontEnd
from models.durations import DurationNet, TimedPhones, expected_log_hops
from models.judge import mixed
from models.lm_data import Example, example
from models.packages import cache_folder
from models.teacher.prepare import Utterance
from models.teachers.kokoro.prepare import HOP_S
from models.teachers.kokoro.speaker import Speaker
from models.teachers.kokoro.times import timed

COUNT = 500
SHORTEST, LONGEST = 0.85, 1.2  # of the teacher's length
QUIET = 330  # of 32,768: -40 dBFS
SKIPPED_S = 0.08  # a word of so much without a sound; shorter ones may lie in the closure of a stop
_BEHIND_S = 0.5  # of sound behind the last word: the model went on speaking
_RATE_HZ = 16_000
_MAX_CHARS = 440  # of a paragraph: some 30 s
_SEED = 5
_SHORT = (
    "Yes.", "No.", "Okay!", "Maybe?", "Sure", "Hello!", "Goodbye.", "Thanks.", "Why?", "Right.", "Of course.",
    "Not yet.", "Me too.", "I see.", "Really?", "One moment.", "Thank you!", "No problem.", "Sorry?", "Good morning.",
    "A", "B.", "Seven.", "Twenty two.", "Monday.", "In May.", "At noon.", "Left.", "Stop!", "Go on.", "Well...",
)  # fmt: skip
_ASKED = (
    "did you say that {}?", "is it true that {}?", "who told you that {}?", "how do you know that {}?",
    "why do they think that {}?",
)  # fmt: skip
_QUOTED = ('"{}" he said, and left.', 'She asked me twice: "{}"', "- {}\n- Are you sure?", '"No," said Ann, "{}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    text: str
    ours_s: float
    teacher_s: float

    @property
    def ratio(self) -> float:
        return self.ours_s / self.teacher_s


def texts(count: int = COUNT) -> list[str]:
    """The same for each call. Sentences of the judge's lists, alone, asked, quoted and joined to paragraphs; figures;
    answers of a word or two; and what hasty writers send."""
    rng = random.Random(_SEED)
    lists = {path.stem: path.read_text().splitlines() for path in sorted(mixed.LISTS.glob("*.txt"))}
    plain = [line for name in ("everyday", "harvard", "plain") for line in lists[name]]
    found = [*plain, *lists["figures"], *lists["closed"], *_SHORT]
    found += islice(_made(rng, plain), max(0, (count - len(found)) // 2))
    found += mixed.texts(2 * count)[: count - len(found)]
    return found[:count]


def _made(rng: random.Random, plain: list[str]) -> Iterator[str]:
    while True:
        line = rng.choice(plain)
        clause = line[0].lower() + line[1:].rstrip(".!?")
        yield rng.choice(_ASKED).format(clause).capitalize()
        yield rng.choice(_QUOTED).format(line)
        paragraph = ""
        for one in rng.sample(plain, 12):
            if len(paragraph) + len(one) < _MAX_CHARS:
                paragraph = f"{paragraph} {one}".strip()
        yield paragraph


def teacher_example(front_end: FrontEnd, speaker: Speaker, text: str, voice: str, index: int) -> Example | None:
    """Its phones and times; None for what it cannot say at once."""
    record = timed(front_end, speaker, text, 1.0, voice)
    if record is None:
        return None
    utterance = Utterance(
        voice=voice, stretch=1.0, text=text, offset=0, samples=0, segments=record["segments"], words=record["words"]
    )
    return example(utterance, np.zeros(0, int), index)


def spoken_s(one: Example, ends: NDArray[Any] | None = None) -> float:
    """From the first phone's start to the last one's end; the outer pauses are left out."""
    ends = one.ends if ends is None else ends
    return float(ends[-2] - ends[0]) * HOP_S


def planned_ends(network: DurationNet, one: Example) -> NDArray[np.int64]:
    """As serving plans them, behind the opening pause: [P]"""
    with torch.no_grad():
        hops = torch.exp(expected_log_hops(network, TimedPhones.of([one]))).round().clamp(min=1)
    return np.cumsum(np.concatenate([[0], hops.numpy().astype(np.int64)]))


def problems(spoken: SpokenText, tokens: int) -> list[str]:
    """What is wrong with one utterance, heard by no recogniser."""
    found = [f"guard {guard}" for guard in spoken.timings.guards]
    if len(spoken.words) < tokens:
        found.append(f"{tokens - len(spoken.words)} of {tokens} words have no time")
    level = np.abs(np.frombuffer(spoken.pcm, np.int16).astype(int))
    for word in spoken.words:
        heard = level[round(word.start_s * _RATE_HZ) : round(word.end_s * _RATE_HZ)]
        if word.end_s - word.start_s >= SKIPPED_S and not (len(heard) and heard.max() > QUIET):
            found.append(f"nothing is heard at {word.start_s:.2f} to {word.end_s:.2f} s")
    behind = level[round((spoken.words[-1].end_s + 0.1) * _RATE_HZ) :] if spoken.words else level
    if (behind > QUIET).sum() > _BEHIND_S * _RATE_HZ:
        found.append("it goes on behind the last word")
    return found


def figures(compared: list[Compared], wrong: list[str], refused: int) -> dict[str, float]:
    ratios = np.array([one.ratio for one in compared])
    return {
        "texts": len(compared) + refused,
        "not_compared": refused,
        "problems": len(wrong),
        "ratio_median": float(np.median(ratios)),
        "ratio_min": float(ratios.min()),
        "ratio_max": float(ratios.max()),
        "outside": int(((ratios < SHORTEST) | (ratios > LONGEST)).sum()),
    }


def of_durations(network: DurationNet, examples: list[Example]) -> list[tuple[float, float]]:
    """Our planned seconds and the teacher's."""
    return [(spoken_s(one, planned_ends(network, one)), spoken_s(one)) for one in examples]


def of_engine(
    engine: Engine, front_end: FrontEnd, speaker: Speaker, voice: str, index: int, chosen: list[str]
) -> tuple[list[Compared], list[str], int]:
    compared, wrong, refused = [], [], 0
    for text in track(chosen, description=f"{voice}: speaking texts of all kinds"):
        try:
            phones = front_end.phones(text)
            spoken = speak(engine, text, voice=voice, seed=1, sample_rate_hz=_RATE_HZ)
        except UnspeakableText:
            refused += 1
            continue
        tokens = {phone.word_index for phone in phones if phone.word_index is not None}
        wrong += [f"{text[:60]!r}: {problem}" for problem in problems(spoken, len(tokens))]
        theirs = teacher_example(front_end, speaker, text, voice, index)
        if theirs is None or not spoken.words:
            refused += 1
            continue
        ours_s = spoken.words[-1].end_s - spoken.words[0].start_s
        compared.append(Compared(text=text, ours_s=ours_s, teacher_s=spoken_s(theirs)))
    return compared, wrong, refused


def show(found: dict[str, float], compared: list[Compared], wrong: list[str]) -> None:
    console = Console(width=140)
    console.print(found)
    for problem in wrong[:20]:
        console.print(problem, markup=False)
    by_ratio = sorted(compared, key=lambda one: one.ratio)
    for one in by_ratio[:5] + by_ratio[-5:]:
        console.print(f"{one.ratio:.2f}  {one.ours_s:.2f} s for {one.teacher_s:.2f} s  {one.text[:70]!r}", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--durations", type=Path)
    parser.add_argument("--voices", default="af_heart,am_michael", help="in the order of the networks'")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    if (arguments.bundle is None) == (arguments.durations is None):
        parser.error("give --bundle or --durations")
    torch.set_num_threads(1)
    front_end, speaker, chosen = FrontEnd.load(), Speaker(arguments.packages), texts(arguments.count)
    every: dict[str, dict[str, float]] = {}
    for index, voice in enumerate(arguments.voices.split(",")):
        if arguments.bundle:
            from engines.assemble import load_engine
            from engines.config import EngineConfig
            from engines.families.phone_pointer.bundle import load_bundle

            engine = load_engine(load_bundle(arguments.bundle), EngineConfig(workers=False))
            compared, wrong, refused = of_engine(engine, front_end, speaker, voice, index, chosen)
            engine.close()
        else:
            compared, wrong, refused = _planned(arguments.durations, front_end, speaker, voice, index, chosen)
        every[voice] = figures(compared, wrong, refused)
        show(every[voice], compared, wrong)
    if arguments.out:
        arguments.out.write_text(json.dumps(every, indent=1) + "\n")


def _planned(
    path: Path, front_end: FrontEnd, speaker: Speaker, voice: str, index: int, chosen: list[str]
) -> tuple[list[Compared], list[str], int]:
    from models.finish import load_durations

    network, kept = load_durations(path), []
    for text in track(chosen, description=f"{voice}: the teacher's times"):
        try:
            found = teacher_example(front_end, speaker, text, voice, index)
        except UnspeakableText:
            found = None
        if found is not None:
            kept.append((text, found))
    both = of_durations(network, [one for _, one in kept])
    compared = [
        Compared(text=text, ours_s=ours_s, teacher_s=teacher_s)
        for (text, _), (ours_s, teacher_s) in zip(kept, both, strict=True)
    ]
    return compared, [], len(chosen) - len(kept)


if __name__ == "__main__":
    main()
