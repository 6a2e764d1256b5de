"""The teacher as yardstick: the same sentences spoken by CMU Flite itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def speak(program: Path, voice: str, texts: list[str], stretch: float = 1.0) -> list[NDArray[np.int16]]:
    """16 kHz samples of each text. `program` is the compiled `models/teacher/flite_speak.c`."""
    with tempfile.TemporaryDirectory() as folder:
        pcm, index = Path(folder) / "speech.pcm", Path(folder) / "speech.jsonl"
        jobs = "".join(f"{voice}\t{stretch}\t{text}\n" for text in texts)
        subprocess.run([str(program.resolve()), str(pcm), str(index)], input=jobs.encode(), check=True)
        samples = np.fromfile(pcm, np.int16)
        records = [json.loads(line) for line in index.read_text().splitlines()]
    return [samples[record["offset"] : record["offset"] + record["samples"]] for record in records]
