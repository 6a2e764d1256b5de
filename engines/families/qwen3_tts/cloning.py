"""Voices cloned from a recording: what is checked, encoded and kept of it.

A voice is a speaker embedding and, with the recording's text, the recording's frames, which then stand before every
utterance. Encoding takes seconds: it runs in a process of its own, never in the engine's loop. A kept voice is a file
NAME.npz in the bundle's folder `voices`.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.errors import BadParameter, BundleError
from engines.families.qwen3_tts.section import Qwen3TtsSection
from engines.families.qwen3_tts.tokens import ids_of, load_tokenizer
from engines.runtime.base import Backend, FloatArray, IntArray

if TYPE_CHECKING:
    from engines.families.qwen3_tts.bundle import Bundle

FOLDER = "voices"
MIN_S, MAX_S = 2.0, 30.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_WINDOW_S = 0.02
_SILENT, _LOUD = 0.003, 0.02  # of full scale, a window's effective value
_CLIPPED = 0.999


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ClonedVoice:
    speaker: FloatArray  # [width]
    text: IntArray  # [T] ids of what the recording says; empty: only the embedding is used
    frames: IntArray  # [F, Q]; empty with the text


class VoiceEncoder:
    def __init__(self, bundle: Bundle, host: Backend) -> None:
        """Raises BundleError where the bundle cannot clone."""
        cloning = bundle.qwen3_tts.cloning
        if cloning is None:
            raise BundleError(
                f"{bundle.name} cannot clone voices: its checkpoint is of kind {bundle.qwen3_tts.kind}, right is base"
            )
        self._section = bundle.qwen3_tts
        self._tokenizer = load_tokenizer(bundle.folder / self._section.text.tokenizer)
        paths = bundle.folder / cloning.speaker_encoder, bundle.folder / cloning.codec_encoder
        self._speaker, self._codec = host.graphs(*paths)

    def encode_voice(self, samples: FloatArray, rate_hz: int, text: str) -> ClonedVoice:
        """samples [S] inside +-1. Without a text the voice is the embedding alone."""
        check_recording(samples, rate_hz, self._section)
        embedding = self._speaker.run({"samples": samples[None]})["embedding"][0]
        ids, frames = np.zeros(0, np.int64), np.zeros((0, self._section.talker.codebooks), np.int64)
        if text.strip():
            hop = self._section.vocoder.hop_length
            whole = samples[: len(samples) // hop * hop]
            frames = self._codec.run({"samples": whole[None]})["codes"][0].astype(np.int64)
            ids = np.array(ids_of(self._tokenizer, text.strip()), np.int64)
        return ClonedVoice(speaker=embedding.astype(np.float32), text=ids, frames=frames)


def check_recording(samples: FloatArray, rate_hz: int, section: Qwen3TtsSection) -> None:
    """Raises BadParameter, which names the value and what is right."""
    if rate_hz != section.vocoder.rate_hz:
        raise BadParameter(f"the recording has {rate_hz} Hz, the voice encoder hears {section.vocoder.rate_hz} Hz")
    seconds = len(samples) / rate_hz
    if not MIN_S <= seconds <= MAX_S:
        raise BadParameter(f"the recording is {seconds:.1f} s long, right is {MIN_S:g} to {MAX_S:g} s")
    if not np.isfinite(samples).all():
        raise BadParameter("the recording has samples that are no numbers")
    size = int(_WINDOW_S * rate_hz)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    levels = np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1))
    if levels.max() < _LOUD:
        level = 20 * np.log10(max(float(levels.max()), 1e-6))
        raise BadParameter(f"the recording is too quiet: its loudest 20 ms are at {level:.0f} dBFS, right is above -34")
    silent = float((levels < _SILENT).mean())
    if silent > 0.6:
        raise BadParameter(f"{silent:.0%} of the recording is silence, right is at most 60%: cut it")
    clipped = float((np.abs(samples) >= _CLIPPED).mean())
    if clipped > 0.001:
        raise BadParameter(
            f"{clipped:.1%} of the samples are clipped, right is at most 0.1%: record it at a lower level"
        )


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadParameter(f"voice name {name!r} must be 1 to 64 of a-z, 0-9, - and _, a letter or digit first")
    return name


def save(folder: Path, name: str, voice: ClonedVoice) -> Path:
    """Keeps the voice in the bundle's folder, whole or not at all."""
    target = folder / FOLDER / f"{check_name(name)}.npz"
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, speaker=voice.speaker, text=voice.text, frames=voice.frames)
    os.replace(partial, target)
    return target


def remove(folder: Path, name: str) -> None:
    target = folder / FOLDER / f"{check_name(name)}.npz"
    if not target.is_file():
        raise BadParameter(f"there is no cloned voice {name!r}; there are: {', '.join(_names(folder)) or 'none'}")
    target.unlink()


def kept(folder: Path, section: Qwen3TtsSection) -> dict[str, ClonedVoice]:
    """By name. Raises BundleError for a file that is no voice of this bundle."""
    return {name: _load(folder / FOLDER / f"{name}.npz", section) for name in _names(folder)}


def digest(folder: Path, manifest: str) -> str:
    """Of the manifest's digest and the cloned voices: what a name speaks like is part of the bundle."""
    names = _names(folder)
    found = hashlib.sha256(manifest.encode())
    for name in names:
        found.update(name.encode() + hashlib.sha256((folder / FOLDER / f"{name}.npz").read_bytes()).digest())
    return found.hexdigest() if names else manifest


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / FOLDER).glob("*.npz"))


def _load(path: Path, section: Qwen3TtsSection) -> ClonedVoice:
    talker = section.talker
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in ("speaker", "text", "frames")}
    except Exception as error:  # zipfile's, numpy's and the system's errors have no common type
        raise BundleError(f"{path.name} is no readable voice: {error}") from error
    speaker, text, frames = arrays["speaker"], arrays["text"], arrays["frames"]
    fits = speaker.shape == (talker.width,) and text.ndim == 1 and frames.shape[1:] == (talker.codebooks,)
    if not fits or (frames.size and not 0 <= frames.min() <= frames.max() < talker.codes):
        raise BundleError(f"{path.name} is a voice of another model: clone it again for this bundle")
    if len(frames) + len(text) > talker.positions // 2:
        raise BundleError(
            f"{path.name} takes {len(frames)} of a slot's {talker.positions} positions, right is below half"
        )
    return ClonedVoice(speaker=speaker.astype(np.float32), text=text.astype(np.int64), frames=frames.astype(np.int64))
