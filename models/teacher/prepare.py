"""From the teacher's raw speech to training data: trimmed samples, pitch, and one record per utterance.

The opening pause is cut to 20-60 ms, so that the pupil starts to speak at once. Utterances are padded to whole codes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.codec import SAMPLES_PER_CODE
from models.framing import HOP, SAMPLE_RATE_HZ

MAX_SECONDS = 30.0
CLOSING_PAUSE_S = 0.24
NATURAL_RANGE = 0.2
LOUD = 0.1  # of the loudest hop of an utterance

Segment = tuple[str, float, int, int, int]  # phone, end_s, stress, word index or -1, syllable start


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One spoken text. Times are seconds from its first sample; `offset` counts samples in the voice's file."""

    voice: str
    stretch: float
    text: str
    offset: int
    samples: int
    segments: list[Segment]
    words: list[tuple[str, str, str]]  # spoken form, source token, punctuation after it


def prepare(raw: Path, out: Path, voice: str, *, natural: bool = False) -> float:
    """Reads `raw`/voice.{pcm,jsonl}, writes `out`/voice.{pcm,f0,jsonl}; returns the seconds of speech kept.

    `natural` is what a person says: its pitch is less regular than the teacher's.
    """
    source = np.memmap(raw / f"{voice}.pcm", np.int16, "r")
    with SpeechWriter(out, voice) as writer:
        for line in (raw / f"{voice}.jsonl").read_text().splitlines():
            record = json.loads(line)
            samples = np.array(source[record["offset"] : record["offset"] + record["samples"]])
            trimmed = trim(record, samples, trimming(record))
            if trimmed is None:
                continue
            samples, segments = trimmed
            writer.add(record, samples, natural_pitch(samples) if natural else pitch(samples), segments)
    return writer.seconds


def pitch(samples: np.ndarray, allowed_range: float = 0.1) -> np.ndarray:
    """samples [S] int16 -> F0 [S / HOP] float32, 0 where unvoiced. `allowed_range` is dio's: how far F0 may move."""
    import pyworld  # only here: training from prepared speech does without it

    wave = samples.astype(np.float64) / 32768
    f0, times = pyworld.dio(
        wave, SAMPLE_RATE_HZ, f0_floor=60, f0_ceil=380, frame_period=10.0, allowed_range=allowed_range
    )
    found = pyworld.stonemask(wave, f0, times, SAMPLE_RATE_HZ)[: len(samples) // HOP]
    return np.asarray(found, np.float32)


def natural_pitch(samples: np.ndarray) -> np.ndarray:
    """As `pitch`, less strict where it is loud.

    Of Kokoro's af_heart and am_michael, whose F0 is known, 6.3 and 0.5 % of frames in loud vowels are called unvoiced,
    in place of 12.9 and 3.0; and 0.4 and 7.9 % of unvoiced frames voiced, in place of 0.1 and 2.2 (3.9 and 19.7 with
    the range of loud places everywhere).
    """
    strict = pitch(samples)
    hops = samples[: len(strict) * HOP].reshape(-1, HOP).astype(np.float64)
    level = np.sqrt((hops**2).mean(axis=1))
    return np.where((strict > 0) | (level > LOUD * level.max()), pitch(samples, NATURAL_RANGE), 0).astype(np.float32)


class SpeechWriter:
    """Prepared speech of one voice, utterance by utterance: `folder`/voice.{pcm,f0,jsonl}."""

    def __init__(self, folder: Path, voice: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._voice, self._written = voice, 0
        with ExitStack() as files:
            self._pcm = files.enter_context(open(folder / f"{voice}.pcm", "wb"))
            self._f0 = files.enter_context(open(folder / f"{voice}.f0", "wb"))
            self._index = files.enter_context(open(folder / f"{voice}.jsonl", "w"))
            self._files = files.pop_all()

    @property
    def seconds(self) -> float:
        return self._written / SAMPLE_RATE_HZ

    def add(self, record: dict[str, Any], samples: np.ndarray, f0: np.ndarray, segments: list[Segment]) -> None:
        """samples [S] int16, f0 [S / HOP] float32; of the record its text, tempo and words are kept."""
        kept = {"voice": self._voice, "stretch": record["stretch"], "text": record["text"], "offset": self._written}
        kept |= {"samples": len(samples), "segments": segments, "words": record["words"]}
        self._pcm.write(samples.tobytes())
        self._f0.write(f0.tobytes())
        self._index.write(json.dumps(kept) + "\n")
        self._written += len(samples)

    def __enter__(self) -> SpeechWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


def load(folder: Path, voice: str) -> tuple[list[Utterance], np.ndarray, np.ndarray]:
    """The utterances of a voice, its samples (int16) and its F0 (float32, one per HOP, 0 where unvoiced)."""
    utterances = [Utterance(**json.loads(line)) for line in (folder / f"{voice}.jsonl").read_text().splitlines()]
    return (
        utterances,
        np.memmap(folder / f"{voice}.pcm", np.int16, "r"),
        np.memmap(folder / f"{voice}.f0", np.float32, "r"),
    )


def pitch_statistics(f0: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of log F0 over the voiced frames."""
    log_f0 = np.log(f0[f0 > 0])
    return float(log_f0.mean()), float(log_f0.std())


def trimming(record: dict[str, Any]) -> random.Random:
    """Where a record is cut is drawn by its text, so that two renderings of one text are cut at the same place."""
    return random.Random(f"{record['voice']} {record['stretch']} {record['text']}")


def trim(record: dict[str, Any], samples: np.ndarray, rng: random.Random) -> tuple[np.ndarray, list[Segment]] | None:
    """Samples and segments of one raw record, both pauses cut; None for what is not worth training on."""
    found = trim_times(record, rng)
    if found is None:
        return None
    start, count, shifted = found
    cut = samples[start : start + count]
    return np.pad(cut, (0, count - len(cut))), shifted


def trim_times(record: dict[str, Any], rng: random.Random) -> tuple[int, int, list[Segment]] | None:
    """As `trim`: first sample, samples and segments."""
    segments = list(record["segments"])
    if len(segments) < 3 or segments[0][0] != "pau" or segments[-1][0] != "pau":
        return None
    start_s = max(0.0, segments[0][1] - rng.uniform(0.02, 0.06))
    end_s = min(segments[-1][1], segments[-2][1] + CLOSING_PAUSE_S)
    start = int(start_s * SAMPLE_RATE_HZ) // HOP * HOP
    count = int((end_s * SAMPLE_RATE_HZ - start) / SAMPLES_PER_CODE + 0.999) * SAMPLES_PER_CODE
    if not SAMPLES_PER_CODE * 4 <= count <= MAX_SECONDS * SAMPLE_RATE_HZ:
        return None
    shifted = [(p, round(min(t, end_s) - start / SAMPLE_RATE_HZ, 4), st, w, sy) for p, t, st, w, sy in segments]
    return start, count, shifted


def voices(folder: Path) -> Iterator[str]:
    yield from sorted(path.stem for path in folder.glob("*.jsonl"))
