"""The teacher's times alone: what durations learn from needs no audio, so it can be far more than is kept as speech.

{voice}.jsonl of `flite_speak.c`, its samples thrown away  ->  examples without codes
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np

from models.lm_data import Example, example
from models.teacher import corpus
from models.teacher.prepare import Utterance, trim_times, trimming


def speak_times(program: Path, folder: Path, voice: str, seconds: float, short: int, seed: int) -> None:
    """Writes `folder`/voice.jsonl: so many seconds of all kinds of text, and so many letters and words alone."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [*corpus.jobs(voice, seconds, seed), *corpus.short_jobs(voice, short, seed)]
    lines = "".join(f"{name}\t{stretch}\t{text}\n" for name, stretch, text in jobs)
    command = [str(program.resolve()), "/dev/null", str(folder / f"{voice}.jsonl")]
    subprocess.run(command, input=lines.encode(), check=True)


def timed_examples(folder: Path, voices: list[str]) -> list[Example]:
    found = []
    for speaker, voice in enumerate(voices):
        path = folder / f"{voice}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else []:
            record = json.loads(line)
            trimmed = trim_times(record, trimming(record))
            if trimmed is None:
                continue
            _, count, segments = trimmed
            utterance = Utterance(
                voice=voice,
                stretch=record["stretch"],
                text=record["text"],
                offset=0,
                samples=count,
                segments=segments,
                words=record["words"],
            )
            found.append(example(utterance, np.zeros(0, int), speaker))
    return found
