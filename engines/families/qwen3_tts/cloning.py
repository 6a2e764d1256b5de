"""Voices cloned from a recording: how one is encoded, and what is kept of it.

A voice is a speaker embedding and, with the recording's text, the recording's frames, which then stand before every
utterance. Encoding takes seconds: it runs in a process of its own, never in the engine's loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soxr

from engines.errors import BadParameter, BundleError
from engines.families.common.recordings import check_recording
from engines.families.common.voice_files import Arrays, VoiceFile
from engines.families.qwen3_tts.section import Qwen3TtsSection
from engines.families.qwen3_tts.tokens import ids_of, load_tokenizer
from engines.runtime.base import Backend, FloatArray, IntArray

if TYPE_CHECKING:
    from engines.families.qwen3_tts.bundle import Bundle


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ClonedVoice:
    speaker: FloatArray  # [width]
    text: IntArray  # [T] ids of what the recording says; empty: only the embedding is used
    frames: IntArray  # [F, Q]; empty with the text
    digest: str = ""

    @property
    def uses_text(self) -> bool:
        return bool(len(self.frames))

    @property
    def arrays(self) -> Arrays:
        return {"speaker": self.speaker, "text": self.text, "frames": self.frames}


class VoiceEncoder:
    def __init__(self, bundle: Bundle, host: Backend) -> None:
        """Raises BundleError where the bundle cannot clone."""
        why_not, cloning = why_no_cloning(bundle), bundle.qwen3_tts.cloning
        if why_not is not None or cloning is None:
            raise BundleError(str(why_not))
        self._section = bundle.qwen3_tts
        self._tokenizer = load_tokenizer(bundle.folder / self._section.text.tokenizer)
        paths = bundle.folder / cloning.speaker_encoder, bundle.folder / cloning.codec_encoder
        self._speaker, self._codec = host.graphs(*paths)

    def encode_voice(self, samples: FloatArray, rate_hz: int, text: str) -> ClonedVoice:
        """samples [S], mono, inside +-1. Without a text the voice is the embedding alone. Raises BadParameter."""
        check_recording(samples, rate_hz)
        heard_hz = self._section.vocoder.rate_hz
        if rate_hz != heard_hz:
            samples = soxr.resample(samples, rate_hz, heard_hz).astype(np.float32)
        embedding = self._speaker.run({"samples": samples[None]})["embedding"][0]
        ids, frames = np.zeros(0, np.int64), np.zeros((0, self._section.talker.codebooks), np.int64)
        if text.strip():
            hop = self._section.vocoder.hop_length
            whole = samples[: len(samples) // hop * hop]
            frames = self._codec.run({"samples": whole[None]})["codes"][0].astype(np.int64)
            ids = np.array(ids_of(self._tokenizer, text.strip()), np.int64)
        voice = ClonedVoice(speaker=embedding.astype(np.float32), text=ids, frames=frames)
        if (problem := _does_not_fit(voice, self._section)) is not None:
            raise BadParameter(problem)
        return voice


def why_no_cloning(bundle: Bundle) -> str | None:
    """None where it can."""
    if bundle.qwen3_tts.cloning is not None:
        return None
    return f"{bundle.name} cannot clone voices: its checkpoint is of kind {bundle.qwen3_tts.kind}, right is base"


def voice_bytes(section: Qwen3TtsSection) -> int:
    """The most that a voice's arrays take."""
    talker = section.talker
    return 4 * talker.width + 8 * (1 + talker.codebooks) * talker.positions // 2


def voice_of(file: VoiceFile, section: Qwen3TtsSection) -> ClonedVoice:
    """Raises BundleError for a file that is no voice of this model."""
    found = {name: file.arrays.get(name) for name in ("speaker", "text", "frames")}
    speaker, text, frames = found["speaker"], found["text"], found["frames"]
    if speaker is None or text is None or frames is None:
        missing = ", ".join(name for name, array in found.items() if array is None)
        raise BundleError(f"it is no voice of this model: it has no {missing}")
    talker = section.talker
    fits = speaker.shape == (talker.width,) and text.ndim == 1 and frames.shape[1:] == (talker.codebooks,)
    if not fits or (frames.size and not 0 <= frames.min() <= frames.max() < talker.codes):
        raise BundleError("it is a voice of another model: clone it again for this bundle")
    voice = ClonedVoice(
        speaker=speaker.astype(np.float32),
        text=text.astype(np.int64),
        frames=frames.astype(np.int64),
        digest=file.digest,
    )
    if (problem := _does_not_fit(voice, section)) is not None:
        raise BundleError(problem)
    return voice


def _does_not_fit(voice: ClonedVoice, section: Qwen3TtsSection) -> str | None:
    taken, positions = max(len(voice.frames), len(voice.text)), section.talker.positions
    if 2 * taken < positions:
        return None
    return (
        f"the recording takes {taken} of a slot's {positions} positions, right is below half: "
        "cut it, leave its text out, or export with more --positions"
    )
