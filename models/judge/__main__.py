"""Judges a running server against the teacher: python -m models.judge --server http://127.0.0.1:8000 --out DIR

Every sentence is asked of the server as 16 kHz PCM and read back by the recogniser, beside the teacher's own
rendering. With `--codec` and `--data` the codec's resynthesis is measured too, with `--bundle` also what its vocoder
and its speech model make of the teacher's own phone times. Results go to JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import engines.runtime.ort  # noqa: F401  # before speechmos, which would import the runtime with its telemetry on
from models.judge import teacher
from models.judge.meters import Meters, compare, even_ends
from models.judge.recogniser import SAMPLE_RATE_HZ, Recogniser, word_error_rate

LISTS = Path(__file__).parent / "lists"
SEED = 1
GENERAL = ("everyday", "harvard")


def server_speech(server: str, voice: str, texts: list[str]) -> list[NDArray[np.int16]]:
    spoken = []
    with httpx.Client(timeout=60) as client:
        for text in track(texts, description=f"asking the server ({voice})"):
            body = {
                "input": text,
                "voice": voice,
                "response_format": "pcm",
                "sample_rate": SAMPLE_RATE_HZ,
                "seed": SEED,
                "leading_silence": "keep",  # as on the side of the teacher
            }
            answer = client.post(f"{server}/v1/audio/speech", json=body)
            answer.raise_for_status()
            spoken.append(np.frombuffer(answer.content, np.int16))
    return spoken


def p808(speech: list[NDArray[np.int16]]) -> float:
    """Mean DNSMOS P.808 (Reddy et al., arXiv 2010.15258), inputs scaled to a peak of 0.7."""
    from speechmos import dnsmos

    scores = []
    for samples in speech:
        wave = samples.astype(np.float32) / 32768
        scores.append(dnsmos.run(0.7 * wave / max(1e-6, float(np.abs(wave).max())), SAMPLE_RATE_HZ)["p808_mos"])
    return float(np.mean(scores))


def judge(
    server: str, program: Path, voice: str, lists: list[str], meters: Meters | None = None
) -> dict[str, dict[str, float]]:
    """`meters` add what a second recogniser, DNSMOS, the speaker encoder and F0 say of the free sentences."""
    figures: dict[str, dict[str, float]] = {}
    dictation = Recogniser()
    for name in lists:
        texts = (LISTS / f"{name}.txt").read_text().splitlines()
        grammar = LISTS / f"{name}.jsgf"
        recogniser = Recogniser(grammar.read_text()) if grammar.exists() else dictation
        sources = {"ours": server_speech(server, voice, texts), "teacher": teacher.speak(program, voice, texts)}
        for source, speech in sources.items():
            heard = [recogniser.transcribe(one) for one in track(speech, description=f"{name}: listening to {source}")]
            row = figures.setdefault(f"{voice} {name} {source}", {})
            row["wer"] = word_error_rate(texts, heard)
            row["seconds"] = float(sum(len(one) for one in speech)) / SAMPLE_RATE_HZ
            if name == "everyday":
                row["dnsmos_p808"] = p808(speech)
                row["dnsmos_p808_even_ends"] = p808([even_ends(one) for one in speech])
        if meters is not None and name in GENERAL:
            ours, theirs = (meters.listen(texts, speech, source) for source, speech in sources.items())
            for source, found in compare(ours, theirs).items():
                figures[f"{voice} {name} {source}"] |= {
                    {"wer": "whisper_wer"}.get(what, what): value for what, value in found.items() if what != "seconds"
                }
    return figures


def with_general(voice: str, figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Adds the mean over the lists of free sentences, which are equally many."""
    for source in ("ours", "teacher"):
        rows = [figures.get(f"{voice} {name} {source}") for name in GENERAL]
        if all(rows):
            figures[f"{voice} general {source}"] = {"wer": float(np.mean([row["wer"] for row in rows if row]))}
    return figures


def write(figures: dict[str, dict[str, float]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "voice-quality.json").write_text(json.dumps(figures, indent=1) + "\n")
    columns = sorted({name for row in figures.values() for name in row})
    table = Table("what", *columns)
    lines = ["| what | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for what, row in figures.items():
        cells = [f"{row[name]:.3f}" if name in row else "" for name in columns]
        table.add_row(what, *cells)
        lines.append("| " + " | ".join([what, *cells]) + " |")
    (out / "voice-quality.md").write_text("\n".join(lines) + "\n")
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--teacher", type=Path, default=Path("work/teacher/flite_speak"))
    parser.add_argument("--voices", default="rms,slt")
    parser.add_argument("--lists", default="closed,everyday,harvard")
    parser.add_argument("--no-meters", action="store_true", help="without Whisper, OVRL, likeness and F0")
    parser.add_argument("--codec", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--bundle", type=Path, help="its vocoder speaks the codec's codes too")
    parser.add_argument("--into", type=Path, help="a bundle whose manifest shall carry the figures")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    arguments = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    meters = None if arguments.no_meters else Meters.load()
    voices = arguments.voices.split(",")
    if arguments.codec and arguments.data:
        from engines.families.phone_pointer.bundle import load_bundle
        from models.encode import load_codec
        from models.judge.resynthesis import resynthesis

        codec = load_codec(arguments.codec)
        for speaker, voice in enumerate(voices):
            figures[f"{voice} resynthesis"] = resynthesis(codec, arguments.data, voice, speaker)
            if arguments.bundle:
                bundle = load_bundle(arguments.bundle)
                figures[f"{voice} resynthesis, served"] = resynthesis(codec, arguments.data, voice, speaker, bundle)
    if arguments.bundle:
        from engines.families.phone_pointer.bundle import load_bundle
        from models.judge.forced import forced

        texts = [line for name in ("everyday", "harvard") for line in (LISTS / f"{name}.txt").read_text().splitlines()]
        for voice in voices:
            figures[f"{voice} teacher's times"] = forced(load_bundle(arguments.bundle), arguments.teacher, voice, texts)
    for voice in voices:
        figures |= with_general(
            voice, judge(arguments.server, arguments.teacher, voice, arguments.lists.split(","), meters)
        )
    write(figures, arguments.out)
    if arguments.into:
        from models.export import update_manifest

        rounded = {what: {name: round(value, 4) for name, value in row.items()} for what, row in figures.items()}
        update_manifest(arguments.into, quality=rounded)


if __name__ == "__main__":
    main()
