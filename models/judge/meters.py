"""What meters say of a folder of speech: python -m models.judge.meters DIR [--teacher DIR]

Folders are as for `models.judge.whisper`. With the teacher's rendering of the same list also likeness of the speaker
and F0 correlation, and each figure of the teacher beside ours. Monotony is a defect: F0 spread is one of the figures.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from engines.text import FrontEnd
from models.judge.whisper import SAMPLE_RATE_HZ, Whisper, read_folder, word_errors
from models.packages import cache_folder, member, wheels

Samples = NDArray[np.int16]
_SEMITONES = 12 / np.log(2)
LOUD = 330  # of 32,768: -40 dBFS
MARGIN = 480  # samples kept beside the first and last loud one
_STRETCHED = 200  # places at which two F0 curves of one sentence are compared


class SpeakerEncoder(nn.Module):
    """Resemblyzer's network (Apache-2.0; Wan et al., arXiv 1710.10467): speech -> a unit vector of its speaker."""

    WINDOW_FRAMES, STEP_FRAMES = 160, 80
    _LEVEL = 10 ** (-30 / 20)

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    @classmethod
    def load(cls, packages: Path | None = None) -> SpeakerEncoder:
        requirements = Path(__file__).with_name("requirements.txt")
        wheel = wheels(requirements, packages or cache_folder() / "packages")["Resemblyzer"]
        saved = torch.load(
            io.BytesIO(member(wheel, "resemblyzer/pretrained.pt")), map_location="cpu", weights_only=True
        )
        network = cls()
        network.load_state_dict(
            {name: value for name, value in saved["model_state"].items() if name.startswith(("lstm", "linear"))}
        )
        return network.eval()

    @torch.no_grad()
    def embed(self, samples: Samples) -> NDArray[np.float64]:
        """16 kHz samples [S] -> [256], the mean over windows of 1.6 s."""
        wave = samples.astype(np.float32) / 32768
        wave *= self._LEVEL / max(1e-6, float(np.sqrt((wave**2).mean())))
        mel = librosa.feature.melspectrogram(y=wave, sr=SAMPLE_RATE_HZ, n_fft=400, hop_length=160, n_mels=40).T
        mel = np.pad(mel, ((0, max(0, self.WINDOW_FRAMES - len(mel))), (0, 0)))
        starts = range(0, len(mel) - self.WINDOW_FRAMES + 1, self.STEP_FRAMES)
        windows = torch.tensor(np.stack([mel[at : at + self.WINDOW_FRAMES] for at in starts]), dtype=torch.float32)
        _, (hidden, _) = self.lstm(windows)
        raw: Tensor = torch.relu(self.linear(hidden[-1]))
        mean = (raw / raw.norm(dim=1, keepdim=True)).mean(0).double().numpy()
        return np.asarray(mean / np.linalg.norm(mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One folder, measured once."""

    figures: dict[str, float]
    embeddings: NDArray[np.float64]  # [N, 256]
    pitch: list[NDArray[np.float64]]  # of each utterance the log F0 of its voiced frames


class Meters:
    """Everything that listens, loaded once."""

    def __init__(self, whisper: Whisper, encoder: SpeakerEncoder) -> None:
        self._whisper, self._encoder, self._front_end = whisper, encoder, FrontEnd.load()

    @classmethod
    def load(cls) -> Meters:
        return cls(Whisper(), SpeakerEncoder.load())

    def listen(self, texts: list[str], speech: list[Samples], name: str) -> Heard:
        from speechmos import dnsmos

        words, scores, embeddings, pitch = [], [], [], []
        for samples in track(speech, description=f"listening to {name}"):
            words.append(self._whisper.transcribe(samples))
            wave = samples.astype(np.float32) / 32768
            scores.append(dnsmos.run(0.7 * wave / max(1e-6, float(np.abs(wave).max())), SAMPLE_RATE_HZ))
            embeddings.append(self._encoder.embed(samples))
            pitch.append(log_f0(samples))
        figures = {
            "wer": word_errors(self._front_end, texts, words),
            "p808": float(np.mean([one["p808_mos"] for one in scores])),
            "ovrl": float(np.mean([one["ovrl_mos"] for one in scores])),
            "f0_spread_semitones": spread(pitch),
            "seconds": sum(len(one) for one in speech) / SAMPLE_RATE_HZ,
        }
        return Heard(figures=figures, embeddings=np.stack(embeddings), pitch=pitch)


def even_ends(samples: Samples) -> Samples:
    """The speech alone with 0.1 s of digital silence before it and 0.3 s after.

    P.808 repeats a sentence until nine seconds are full; 22 ms of pause moved even the teacher's score by up to 0.26.
    """
    loud = np.flatnonzero(np.abs(samples.astype(int)) > LOUD)
    spoken = samples[max(0, loud[0] - MARGIN) : loud[-1] + MARGIN] if len(loud) else samples
    return np.pad(spoken, (SAMPLE_RATE_HZ // 10, 3 * SAMPLE_RATE_HZ // 10))


def log_f0(samples: Samples) -> NDArray[np.float64]:
    """Of the voiced frames, 100 a second. Harvest: dio finds half of a natural voice unvoiced."""
    import pyworld

    f0, _ = pyworld.harvest(
        samples.astype(np.float64) / 32768, SAMPLE_RATE_HZ, f0_floor=60, f0_ceil=400, frame_period=10
    )
    return np.asarray(np.log(f0[f0 > 0]))


def spread(pitch: list[NDArray[np.float64]]) -> float:
    """Standard deviation of F0 in semitones, over all voiced frames."""
    return float(np.concatenate(pitch).std() * _SEMITONES)


def correlation(ours: list[NDArray[np.float64]], theirs: list[NDArray[np.float64]]) -> float:
    """Mean correlation of the F0 curves of the same sentences, each stretched to one length."""
    found = []
    for pair in zip(ours, theirs, strict=True):
        if min(len(one) for one in pair) < 10:
            continue
        one, other = (np.interp(np.linspace(0, len(c) - 1, _STRETCHED), np.arange(len(c)), c) for c in pair)
        found.append(float(np.corrcoef(one, other)[0, 1]))
    return float(np.mean(found))


def compare(ours: Heard, teacher: Heard) -> dict[str, dict[str, float]]:
    """Likeness is the mean cosine of ours to the teacher's other sentences, relative to the teacher's to its own."""
    apart = ~np.eye(len(teacher.embeddings), dtype=bool)
    own = float((teacher.embeddings @ teacher.embeddings.T)[apart].mean())
    alike = float((ours.embeddings @ teacher.embeddings.T)[apart].mean())
    more = {"likeness": alike / own, "f0_correlation": correlation(ours.pitch, teacher.pitch)}
    more["f0_spread_ratio"] = ours.figures["f0_spread_semitones"] / teacher.figures["f0_spread_semitones"]
    return {"ours": ours.figures | more, "teacher": teacher.figures | {"likeness": 1.0, "f0_correlation": 1.0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--teacher", type=Path, help="the teacher's rendering of the same list")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    meters = Meters.load()
    ours = meters.listen(*read_folder(arguments.folder), arguments.folder.name)
    figures = {"ours": ours.figures}
    if arguments.teacher:
        figures = compare(ours, meters.listen(*read_folder(arguments.teacher), "the teacher"))
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
