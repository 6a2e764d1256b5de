"""What int8 costs in sound: python -m models.judge.int8 --fp32 BUNDLE --int8 BUNDLE --teacher PROGRAM

Both bundles, made of the same checkpoints, speak the same sentences in this process. Compared are word errors of free
speech, STOI against the teacher's audio when the phones and times are the teacher's, and, with `--codec` and `--data`,
STOI of held-out speech that went through the codec and the bundle's vocoder alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.synth import speak
from models.judge.forced import forced
from models.judge.recogniser import SAMPLE_RATE_HZ, Recogniser, word_error_rate

LISTS = Path(__file__).parent / "lists"
LISTED = ("closed", "everyday", "harvard")
FREE = ("everyday", "harvard")  # the lists that are also spoken with the teacher's times
SEED = 1
BARS = {"wer": 0.02, "stoi": 0.01}  # how much worse int8 may be
PARTS = ("fp32", "int8")

Figures = dict[str, dict[str, float]]  # "rms everyday wer" -> fp32, int8, worse_by


def spoken(bundle: Bundle, voice: str, texts: list[str]) -> list[NDArray[np.int16]]:
    engine = load_engine(bundle, EngineConfig(slots=1, workers=False, drafts=DraftMode.OFF))
    found = [speak(engine, text, voice=voice, seed=SEED, sample_rate_hz=SAMPLE_RATE_HZ).pcm for text in texts]
    engine.close()
    return [np.frombuffer(pcm, np.int16) for pcm in found]


def word_errors(bundle: Bundle, voice: str, name: str) -> float:
    texts = sentences(name)
    grammar = LISTS / f"{name}.jsgf"
    recogniser = Recogniser(grammar.read_text() if grammar.exists() else None)
    speech = spoken(bundle, voice, texts)
    return word_error_rate(texts, [recogniser.transcribe(one) for one in track(speech, description=f"{voice} {name}")])


def sentences(name: str) -> list[str]:
    return (LISTS / f"{name}.txt").read_text().splitlines()


def compare(what: str, fp32: float, int8: float) -> dict[str, float]:
    """`worse_by` is positive where int8 is the worse one, whichever way the measure runs."""
    return {"fp32": fp32, "int8": int8, "worse_by": fp32 - int8 if what.endswith("stoi") else int8 - fp32}


def with_general(figures: Figures) -> Figures:
    """Adds each voice's mean over the lists of free sentences, which are equally many."""
    found = dict(figures)
    for voice in dict.fromkeys(what.split()[0] for what in figures):
        rows = [figures[f"{voice} {name} wer"] for name in FREE if f"{voice} {name} wer" in figures]
        if len(rows) == len(FREE):
            what = f"{voice} general wer"
            found[what] = compare(what, *(float(np.mean([row[part] for row in rows])) for part in PARTS))
    return found


def misses(figures: Figures) -> list[str]:
    """Which rows break their bar. The voices behind the first have theirs on closed and on all free sentences, as the
    shipped voice's own bars are drawn; their lists one by one are shown."""
    first = next(iter(figures)).split()[0]
    worse = {what: row["worse_by"] for what, row in figures.items() if row["worse_by"] > BARS[what.split()[-1]]}
    shown = {
        what
        for what in worse
        if what.split()[1] in FREE and not what.startswith(f"{first} ") and f"{what.split()[0]} general wer" in figures
    }
    return [
        f"{what}: int8 is worse by {by:.4f}, the bar is {BARS[what.split()[-1]]}"
        for what, by in worse.items()
        if what not in shown
    ]


def write(figures: Figures, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rounded = {what: {name: round(value, 4) for name, value in row.items()} for what, row in figures.items()}
    (out / "int8.json").write_text(json.dumps(rounded, indent=1) + "\n")
    one_word = ", ".join(f"{100 / len(' '.join(sentences(name)).split()):.1f} points of {name}" for name in LISTED)
    lines = [
        "# int8 against float32",
        "",
        "Made by `python -m models.judge.int8`; both bundles come from the same checkpoints. Word error rate (wer) of",
        "the recogniser on what each says on its own, STOI with the teacher's times against the teacher's audio,",
        "and STOI of held-out speech through the codec and each vocoder. Positive differences: int8 is worse. One word",
        f"is {one_word}, so differences of a few of them are chance.",
        f"Bars: worse by at most {100 * BARS['wer']:.0f} points of wer, {BARS['stoi']} of STOI; of voices behind the",
        "first the closed list and all free sentences together (general) have one, single lists are shown.",
        "",
        "| what | float32 | int8 | worse by |",
        "|---|---|---|---|",
    ]
    for what, row in rounded.items():
        scale, unit = (100, " %") if what.endswith("wer") else (1, "")
        digits = 1 if unit else 4
        worse = f"{scale * row['worse_by']:+.{digits}f}"
        lines.append(
            f"| {what} | " + " | ".join(f"{scale * row[part]:.{digits}f}{unit}" for part in PARTS) + f" | {worse} |"
        )
    broken = misses(figures)
    lines += ["", "All within the bars." if not broken else "Not within the bars: " + "; ".join(broken) + "."]
    (out / "int8.md").write_text("\n".join(lines) + "\n")
    Console(width=140).print("\n".join(lines))


def measure(arguments: argparse.Namespace) -> Figures:
    bundles = [load_bundle(arguments.fp32), load_bundle(arguments.int8)]
    figures: Figures = {}
    free = [text for name in FREE for text in sentences(name)]
    for voice in arguments.voices.split(","):
        for name in arguments.lists.split(","):
            what = f"{voice} {name} wer"
            figures[what] = compare(what, *(word_errors(bundle, voice, name) for bundle in bundles))
        what = f"{voice} teacher's times stoi"
        stoi = [forced(bundle, arguments.teacher, voice, free)["stoi"] for bundle in bundles]
        figures[what] = compare(what, *stoi)
        if arguments.codec and arguments.data:
            from models.encode import load_codec
            from models.judge.resynthesis import resynthesis

            codec, what = load_codec(arguments.codec), f"{voice} resynthesis stoi"
            speaker = bundles[0].voice(voice).index
            figures[what] = compare(
                what, *(resynthesis(codec, arguments.data, voice, speaker, bundle)["stoi"] for bundle in bundles)
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="the compiled flite_speak")
    parser.add_argument("--voices", default="rms,slt")
    parser.add_argument("--lists", default=",".join(LISTED))
    parser.add_argument("--codec", type=Path, help="with --data: resynthesis through the vocoder too")
    parser.add_argument("--data", type=Path, help="prepared speech")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    figures = with_general(measure(arguments))
    write(figures, arguments.out)
    sys.exit(1 if misses(figures) else 0)


if __name__ == "__main__":
    main()
