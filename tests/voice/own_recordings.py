"""The committed speech as a user would bring it: WAV files and a manifest, in a folder."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np

from models.teacher.prepare import Utterance, load

FIXTURE = Path(__file__).parent / "fixture"
VOICES = {"rms": "anna", "slt": "ben"}
RATE_HZ = 16_000


def tone(seconds: float, rate_hz: int = RATE_HZ, level: float = 8000) -> np.ndarray:
    return level * np.sin(2 * np.pi * 200 * np.arange(int(seconds * rate_hz)) / rate_hz)


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ, channels: int = 1) -> None:
    """samples [S] or [S, channels], int16"""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_recordings(folder: Path) -> tuple[Path, list[Utterance]]:
    """-> the manifest, and what each line's true times are"""
    lines, spoken = [], []
    for voice, name in VOICES.items():
        utterances, pcm, _ = load(FIXTURE, voice)
        for index, one in enumerate(utterances):
            audio = f"wavs/{name}-{index:02}.wav"
            write_wav(folder / audio, np.array(pcm[one.offset : one.offset + one.samples]))
            lines.append({"audio": audio, "text": one.text, "voice": name})
            spoken.append(one)
    return write_lines(folder / "manifest.jsonl", lines), spoken
