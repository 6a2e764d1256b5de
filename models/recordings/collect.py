"""All recordings of a manifest to raw speech as `models.teacher.prepare` reads it, and a report of what was left out.

    parts/00000.pkl ...   40 recordings each, timed; a run that was killed goes on after the last whole one
    VOICE.pcm, VOICE.jsonl, report.json

An alignment is also judged beside the others: noise and microphone move the fit of a whole collection, a wrong text
moves its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from rich.progress import track

from engines.text import FrontEnd
from models.recordings.audio import SAMPLE_RATE_HZ
from models.recordings.errors import Refused
from models.recordings.manifest import Manifest, Recording
from models.recordings.phone_aligner import PhoneAligner
from models.recordings.timing import Refusal, Timed, timed
from models.teacher.prepare import load
from models.train_codec import CROP_SAMPLES, held_out

PART = 40  # recordings
MOST_LEFT_OUT = 0.2  # of a voice's recordings
# Mean log fit of a phone's frames. The teacher's own texts: -8 to -25, with noise 20 dB below the speech down to -25;
# other texts of the same teacher, where an alignment is found at all: nine in ten below -31.
GOOD_FIT, WORST_FIT = -30.0, -45.0
BELOW_MEDIAN = 15.0


class TooManyLeftOutError(Refused):
    pass


class TooFewError(Refused):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    recording: Recording
    reason: str


def collect(manifest: Manifest, folder: Path, processes: int) -> dict[str, float]:
    """Returns the seconds kept of each voice. Raises TooManyLeftOutError, the report being written."""
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    every = manifest.recordings
    jobs = [(parts / f"{first:07d}.pkl", every[first : first + PART]) for first in range(0, len(every), PART)]
    _time_parts([job for job in jobs if not job[0].exists()], processes)
    fits = {voice: [] for voice in manifest.voices}  # type: dict[str, list[float]]
    for path, recordings in jobs:
        for one, found in zip(recordings, _load(path), strict=True):
            if isinstance(found, Timed):
                fits[one.voice].append(found.log_fit)
    floors = {voice: fit_floor(values) for voice, values in fits.items()}
    kept_s, left_out = _write(jobs, floors, folder)
    report = {
        "recordings": len(every),
        "kept_s": {voice: round(seconds, 1) for voice, seconds in kept_s.items()},
        "fit_floor": {voice: round(floor, 1) for voice, floor in floors.items()},
        "left_out": [
            {"line": one.recording.line, "audio": str(one.recording.audio), "reason": one.reason} for one in left_out
        ],
    }
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    _refuse_too_many(manifest, left_out, folder / "report.json")
    shutil.rmtree(parts)
    return kept_s


def refuse_few(speech: Path, voice: str) -> None:
    """Training cuts pieces of prepared speech and keeps a few recordings apart."""
    utterances, _, _ = load(speech, voice) if (speech / f"{voice}.pcm").stat().st_size else ([], None, None)
    apart = len(held_out(utterances))
    if not apart or not any(one.samples >= CROP_SAMPLES for one in utterances[:-apart]):
        raise TooFewError(
            f"voice {voice!r} has {len(utterances)} recordings that can be used, too few: at least 4 are needed, "
            f"{CROP_SAMPLES / SAMPLE_RATE_HZ:.2f} s or longer among the first of them"
        )


def fit_floor(fits: list[float]) -> float:
    """What is below does not fit its text."""
    return max(WORST_FIT, min(GOOD_FIT, float(np.median(fits)) - BELOW_MEDIAN)) if fits else GOOD_FIT


def _time_parts(jobs: list[tuple[Path, tuple[Recording, ...]]], processes: int) -> None:
    description = "reading and aligning"
    if processes == 1 or len(jobs) <= 1:
        for job in track(jobs, description=description):
            _time_part(job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context) as pool:
        for _ in track(pool.map(_time_part, jobs), description=description, total=len(jobs)):
            pass


def _time_part(job: tuple[Path, tuple[Recording, ...]]) -> None:
    path, recordings = job
    aligner, front_end = _tools()
    found: list[Timed | str] = []
    for one in recordings:
        try:
            found.append(timed(one, aligner, front_end))
        except Refusal as error:
            found.append(str(error))
    partial_path = path.with_suffix(".partial")
    partial_path.write_bytes(pickle.dumps(found))
    os.replace(partial_path, path)


@cache
def _tools() -> tuple[PhoneAligner, FrontEnd]:
    """Once a process."""
    return PhoneAligner(), FrontEnd.load()


def _load(path: Path) -> list[Timed | str]:
    found: list[Timed | str] = pickle.loads(path.read_bytes())
    return found


def _write(
    jobs: list[tuple[Path, tuple[Recording, ...]]], floors: dict[str, float], folder: Path
) -> tuple[dict[str, float], list[LeftOut]]:
    for voice in floors:
        for suffix in ("pcm", "jsonl"):
            (folder / f"{voice}.{suffix}").write_bytes(b"")
    written = dict.fromkeys(floors, 0)
    left_out: list[LeftOut] = []
    for path, recordings in jobs:
        for one, found in zip(recordings, _load(path), strict=True):
            leave = partial(LeftOut, recording=one)
            if isinstance(found, str):
                left_out.append(leave(reason=found))
                continue
            floor = floors[one.voice]
            if found.log_fit < floor:
                left_out.append(
                    leave(reason=f"its sound does not fit the text: {found.log_fit:.0f}, below {floor:.0f}")
                )
                continue
            with open(folder / f"{one.voice}.pcm", "ab") as pcm, open(folder / f"{one.voice}.jsonl", "a") as index:
                pcm.write(found.samples.tobytes())
                index.write(json.dumps(found.record | {"offset": written[one.voice]}) + "\n")
            written[one.voice] += len(found.samples)
    return {voice: samples / SAMPLE_RATE_HZ for voice, samples in written.items()}, left_out


def _refuse_too_many(manifest: Manifest, left_out: list[LeftOut], report: Path) -> None:
    totals = Counter(one.voice for one in manifest.recordings)
    gone = Counter(one.recording.voice for one in left_out)
    for voice, total in totals.items():
        if gone[voice] > MOST_LEFT_OUT * total:
            first = next(one for one in left_out if one.recording.voice == voice)
            raise TooManyLeftOutError(
                f"voice {voice!r}: {gone[voice]} of {total} recordings were left out, at most {MOST_LEFT_OUT:.0%} may "
                f"be; {report} names them. The first: {manifest.path}:{first.recording.line}, {first.reason}. Look "
                "whether each text is word for word what is spoken in its file, in English, without noise or music"
            )
