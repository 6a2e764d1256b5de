"""The teacher as yardstick: the same sentences spoken by CMU Flite itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def speak(program: Path, voice: str, texts: list[str], stretch: float = 1.0) -> list[NDArray[np.int16]]:
    """16 kHz samples of each text. `program` is the compiled `models/teacher/flite_speak.c`."""
    return [samples for samples, _ in records(program, voice, texts, stretch)]


def speak_timed(
    program: Path, voice: str, texts: list[str]
) -> list[tuple[NDArray[np.int16], list[tuple[float, float]]]]:
    """16 kHz samples of each text, and start and end of its words in seconds; "it's" is one word."""
    return [(samples, word_spans(record)) for samples, record in records(program, voice, texts, 1.0)]


def word_spans(record: dict[str, Any]) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    start_s, last_word = 0.0, -1
    for phone, end_s, _, word, _ in record["segments"]:
        if phone != "pau":
            clitic = record["words"][word][0].startswith("'")
            if word == last_word or (clitic and spans):
                spans[-1] = (spans[-1][0], end_s)
            else:
                spans.append((start_s, end_s))
            last_word = word
        start_s = end_s
    return spans


def records(
    program: Path, voice: str, texts: list[str], stretch: float
) -> list[tuple[NDArray[np.int16], dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as folder:
        pcm, index = Path(folder) / "speech.pcm", Path(folder) / "speech.jsonl"
        jobs = "".join(f"{voice}\t{stretch}\t{text}\n" for text in texts)
        subprocess.run([str(program.resolve()), str(pcm), str(index)], input=jobs.encode(), check=True)
        samples = np.fromfile(pcm, np.int16)
        records = [json.loads(line) for line in index.read_text().splitlines()]
    return [(samples[one["offset"] : one["offset"] + one["samples"]], one) for one in records]
