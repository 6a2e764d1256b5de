"""The manifest of a pocket-tts bundle.

manifest.json  step.onnx  prefill.onnx  decoder.onnx  tokenizer.json  VOICE.npy
hears.onnx  follows.onnx  voice.onnx  where voices can be cloned
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

from engines.families import bundle
from engines.families.bundle import Count, Positive, Section

_LANGUAGES = ("dutch", "english", "french", "german", "italian", "portuguese", "spanish")  # of published models
CLONING_GRAPHS = ("hears.onnx", "follows.onnx", "voice.onnx")
_CLONING_WEIGHTS = "cloning.bin"  # that these graphs draw from


class Voice(bundle.Voice, frozen=True, kw_only=True):
    file: str
    positions: Positive  # that the voice takes in a slot
    licence: str
    source: str


class TextRules(Section, frozen=True, kw_only=True):
    """How text is written before the model reads it."""

    vocabulary: Positive
    replaced: dict[str, str]  # character to what stands for it
    removes_semicolons: bool
    adds_full_stop: bool
    capitalises: bool


class End(Section, frozen=True, kw_only=True):
    threshold: float  # of the end logit
    ignored_frames: Count  # at a chunk's beginning, where the logit may rise before speech
    frames_after: Positive | None = None  # where the model recommends a number


class SpeechModel(Section, frozen=True, kw_only=True):
    layers: Positive
    kv_heads: Positive
    head_dim: Positive
    positions: Positive  # of a slot
    first_frame: tuple[float, ...]  # what the first step of a chunk sees as its last frame

    @property
    def bytes_per_position(self) -> int:
        return 2 * 4 * self.layers * self.kv_heads * self.head_dim


class State(Section, frozen=True, kw_only=True):
    name: str
    shape: tuple[Positive, ...]


class Decoder(Section, frozen=True, kw_only=True):
    steps_per_frame: Positive
    states: tuple[State, ...]


class Cloning(Section, frozen=True, kw_only=True):
    """Graphs that make a voice of a recording: hears.onnx, follows.onnx, voice.onnx."""

    steps_per_frame: Positive  # of follows.onnx
    states: tuple[State, ...]  # of follows.onnx
    opening: Count  # positions before those of the recording's frames
    positions: Positive  # the most that a voice may take


class Bundle(bundle.Bundle, frozen=True, kw_only=True):
    FAMILY: ClassVar[str] = "pocket"

    sample_rate_hz: Positive
    hop_length: Positive  # samples of a frame
    text: TextRules
    end: End
    lm: SpeechModel
    decoder: Decoder
    voices: tuple[Voice, ...]
    temperature: float
    cloning: Cloning | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        longest = max(self.cloning.positions if self.cloning else 0, *(voice.positions for voice in self.voices))
        if longest >= self.lm.positions:
            raise ValueError(f"a voice takes {longest} positions of a slot's {self.lm.positions}: no speech fits")

    @property
    def languages(self) -> tuple[str, ...]:
        """Begins the name of a published model, `german_24l`; another one's is taken for English."""
        first = str(self.provenance.get("model", "")).partition("_")[0]
        return (first,) if first in _LANGUAGES else super().languages

    @property
    def used_files(self) -> tuple[str, ...]:
        graphs = ("step.onnx", "prefill.onnx", "decoder.onnx", *(CLONING_GRAPHS if self.cloning else ()))
        return (*graphs, "tokenizer.json", *(one.file for one in self.voices))

    @property
    def voice_weights(self) -> str:
        """Digest of the weights that make keys and values of a recording: another bundle of the same weights has it
        too."""
        names = (_CLONING_WEIGHTS,) if _CLONING_WEIGHTS in self.files else CLONING_GRAPHS
        return hashlib.sha256("".join(self.files[name] for name in names).encode()).hexdigest()

    @property
    def frame_s(self) -> float:
        return self.hop_length / self.sample_rate_hz

    @property
    def frame_width(self) -> int:
        return len(self.lm.first_frame)
