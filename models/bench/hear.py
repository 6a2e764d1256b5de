"""Reads recorded speech back and counts word errors: python -m models.bench.hear FOLDER

FOLDER/spoken.json has a list of {"group", "text", "file"}; files are 16 kHz s16le. Prints the rate of each group.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from models.judge.recogniser import Recogniser, word_error_rate


def main() -> None:
    folder, recogniser = Path(sys.argv[1]), Recogniser()
    texts: dict[str, list[str]] = {}
    heard: dict[str, list[str]] = {}
    for record in json.loads((folder / "spoken.json").read_text()):
        texts.setdefault(record["group"], []).append(record["text"])
        samples = np.fromfile(folder / record["file"], np.int16)
        heard.setdefault(record["group"], []).append(recogniser.transcribe(samples))
    print(json.dumps({group: round(word_error_rate(texts[group], heard[group]), 4) for group in texts}))


if __name__ == "__main__":
    main()
