"""Are the word times of a natural voice true? python -m models.judge.carried_times --bundle DIR

The ruler is the teacher: its graph says when it speaks each word, exactly. Dynamic time warping (Sakoe and Chiba
1978) finds which moment of our rendering sounds like which of the teacher's, and so carries its word times over to
ours; no recogniser has a say. `--ruler` measures how well: the teacher at another tempo, whose times are as exact.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from engines.engine import Engine
from engines.synth import speak
from engines.text import FrontEnd, Phone
from models.judge.natural import Samples, Spoken, teacher_speech
from models.judge.word_times import Figures, errors_ms, figures
from models.packages import cache_folder

SAMPLE_RATE_HZ = 16_000
OTHER_TEMPO = 1.15
_HOP, _WINDOW, _BANDS = 80, 400, 40
_FLOOR = 1e-5  # of power: what is quieter is silence
_LEVEL = 0.1
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One rendering: samples, and when each token of its text is spoken."""

    text: str
    samples: Samples
    spans: list[Span]


def token_spans(phones: list[Phone], ends_s: list[float]) -> list[Span]:
    """Of each token that is spoken; `ends_s` of all phones, the pauses among them."""
    spans: dict[int, Span] = {}
    for phone, start_s, end_s in zip(phones, [0.0, *ends_s], ends_s, strict=False):
        if phone.word_index is not None:
            first_s, _ = spans.get(phone.word_index, (start_s, end_s))
            spans[phone.word_index] = first_s, end_s
    return [spans[index] for index in sorted(spans)]


def of_teacher(front_end: FrontEnd, spoken: Spoken) -> list[Timed]:
    return [
        Timed(
            text=one.text,
            samples=samples,
            spans=token_spans(front_end.phones(one.text), [segment[1] for segment in one.segments]),
        )
        for one, samples in zip(spoken.utterances, spoken.samples, strict=True)
    ]


def of_engine(engine: Engine, voice: str, texts: list[str]) -> list[Timed]:
    found = []
    for text in track(texts, description=f"{voice}: speaking for its word times"):
        spoken = speak(engine, text, voice=voice, seed=1, sample_rate_hz=SAMPLE_RATE_HZ)
        spans = [(word.start_s, word.end_s) for word in spoken.words]
        found.append(Timed(text=text, samples=np.frombuffer(spoken.pcm, np.int16), spans=spans))
    return found


def carried(theirs: Samples, ours: Samples, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """times_s [N] in their samples -> [N] in ours"""
    path = librosa.sequence.dtw(_features(theirs), _features(ours), metric="euclidean")[1][::-1]
    their_frames, our_frames = path.T
    count = np.bincount(their_frames)  # of a frame that is matched several times, the mean
    frames, matched = np.arange(len(count)), np.bincount(their_frames, our_frames) / count
    hop_s = _HOP / SAMPLE_RATE_HZ
    return np.asarray(np.interp(times_s / hop_s, frames, matched) * hop_s)


def errors(ours: list[Timed], theirs: list[Timed]) -> list[NDArray[np.float64]]:
    """Our word times minus those carried over, [words, start and end] of each text, in milliseconds."""
    found = []
    for one, other in zip(ours, theirs, strict=True):
        if len(one.spans) != len(other.spans):
            continue
        moved = carried(other.samples, one.samples, np.array(other.spans).ravel()).reshape(-1, 2)
        found.append(errors_ms(one.spans, [(float(start), float(end)) for start, end in moved]))
    return found


def compare(ours: list[Timed], theirs: list[Timed]) -> Figures:
    found = errors(ours, theirs)
    if not found:
        return {"sentences": 0.0, "not_compared": float(len(theirs))}
    return figures(found) | {"sentences": len(found), "not_compared": len(theirs) - len(found)}


def _features(samples: Samples) -> NDArray[np.float64]:
    """Log-mel [40, T], 200 a second, of one level; each band without its mean."""
    wave = samples.astype(np.float64) / 32768
    wave *= _LEVEL / max(1e-6, float(np.sqrt((wave**2).mean())))
    mel = librosa.feature.melspectrogram(y=wave, sr=SAMPLE_RATE_HZ, n_fft=_WINDOW, hop_length=_HOP, n_mels=_BANDS)
    log = np.log(mel + _FLOOR)
    return np.asarray(log - log.mean(1, keepdims=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--voices", default="af_heart,am_michael")
    parser.add_argument("--lists", type=Path, default=cache_folder() / "voice-kokoro" / "lists")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--ruler", action="store_true", help="the ruler's own error: the teacher at another tempo")
    arguments = parser.parse_args()
    front_end, rows = FrontEnd.load(), {}
    for voice in arguments.voices.split(","):
        theirs = of_teacher(front_end, teacher_speech(arguments.lists, voice, arguments.packages))
        if arguments.ruler:
            other = teacher_speech(arguments.lists / "other-tempo", voice, arguments.packages, OTHER_TEMPO)
            rows[f"{voice}, the ruler's own"] = compare(of_teacher(front_end, other), theirs)
        if arguments.bundle:
            from engines.assemble import load_engine
            from engines.config import EngineConfig
            from engines.families.phone_pointer.bundle import load_bundle

            engine = load_engine(load_bundle(arguments.bundle), EngineConfig(workers=False))
            rows[voice] = compare(of_engine(engine, voice, [one.text for one in theirs]), theirs)
            engine.close()
    print(json.dumps({what: {name: round(value, 1) for name, value in row.items()} for what, row in rows.items()}))


if __name__ == "__main__":
    main()
