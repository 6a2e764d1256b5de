"""Word errors of borrowed and mixed timbres and of moved pitch: python -m models.judge.timbres --out DIR

Each row is spoken by the engine in this process and read back by the recogniser: the list of a closed grammar, and
everyday sentences by free dictation. Median F0 is WORLD's, over the everyday sentences. A voice as it is stands beside.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.common.voice_mix import choose_voice, parse_mix
from engines.families.phone_pointer.bundle import load_bundle
from engines.synth import speak
from models.judge.__main__ import LISTS, SEED, p808
from models.judge.meters import even_ends
from models.judge.recogniser import SAMPLE_RATE_HZ, Recogniser, word_error_rate

ROWS: tuple[tuple[str, str | None, float], ...] = (
    ("rms", None, 0),
    ("slt", None, 0),
    ("rms", "slt", 0),
    ("slt", "rms", 0),
    ("rms+slt", None, 0),
    ("slt+rms", None, 0),
    ("rms(2)+awb(1)", None, 0),
    ("rms", None, 4),
    ("rms", None, -4),
    ("slt", None, 4),
    ("slt", None, -4),
)


def spoken(
    engine: Engine, voice: str, timbre: str | None, pitch_semitones: float, texts: list[str]
) -> list[NDArray[np.int16]]:
    names = {one.id: one.id for one in engine.spec.voices}
    chosen_voice = choose_voice(parse_mix(voice, names), None if timbre is None else parse_mix(timbre, names))
    made = []
    for text in texts:
        pcm = speak(
            engine,
            text,
            voice=chosen_voice.voice,
            timbre=chosen_voice.timbre,
            pitch_semitones=pitch_semitones,
            seed=SEED,
            sample_rate_hz=SAMPLE_RATE_HZ,
        ).pcm
        made.append(np.frombuffer(pcm, np.int16))
    return made


def median_f0_hz(speech: list[NDArray[np.int16]]) -> float:
    import pyworld

    found = []
    for samples in speech:
        f0, _ = pyworld.harvest(samples / 32768, SAMPLE_RATE_HZ, f0_floor=30.0, f0_ceil=850.0)
        found.append(f0[f0 > 0])
    return float(np.median(np.concatenate(found)))


def judge(engine: Engine) -> dict[str, dict[str, float]]:
    closed = (LISTS / "closed.txt").read_text().splitlines()
    everyday = (LISTS / "everyday.txt").read_text().splitlines()
    grammar, dictation = Recogniser((LISTS / "closed.jsgf").read_text()), Recogniser()
    figures = {}
    for voice, timbre, pitch in track(ROWS, description="speaking and listening"):
        name = voice + (f" in {timbre}" if timbre else "") + (f" {pitch:+g} semitones" if pitch else "")
        heard = [grammar.transcribe(one) for one in spoken(engine, voice, timbre, pitch, closed)]
        speech = spoken(engine, voice, timbre, pitch, everyday)
        figures[name] = {
            "closed_wer": word_error_rate(closed, heard),
            "everyday_wer": word_error_rate(everyday, [dictation.transcribe(one) for one in speech]),
            "dnsmos_p808_even_ends": p808([even_ends(one) for one in speech]),
            "median_f0_hz": median_f0_hz(speech),
        }
    return figures


def write(figures: dict[str, dict[str, float]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "timbres.json").write_text(json.dumps(figures, indent=1) + "\n")
    lines = [
        "# Borrowed and mixed timbres, moved pitch",
        "",
        "From `python -m models.judge.timbres`: word errors by pocketsphinx (a noisy ruler), DNSMOS P.808 with even",
        "ends, median F0 by WORLD. [Decision 10](../decisions/0010-pitch-and-mixing.md) says what they mean.",
        "",
        "| what | closed grammar, % | everyday, % | P.808 | median F0, Hz |",
        "|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        errors = f"{100 * row['closed_wer']:.1f} | {100 * row['everyday_wer']:.1f}"
        lines.append(f"| {name} | {errors} | {row['dnsmos_p808_even_ends']:.2f} | {row['median_f0_hz']:.0f} |")
    (out / "timbres.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines[5:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("flite"))
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    engine = load_engine(load_bundle(arguments.bundle), EngineConfig(slots=1, workers=False))
    write(judge(engine), arguments.out)
    engine.close()


if __name__ == "__main__":
    main()
