"""Qwen3-TTS's section of a manifest: every number that the family needs, as the exporter found it in the checkpoint."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.families.bundle import Count as Id
from engines.families.bundle import Positive
from engines.families.bundle import Section as Part


class TalkerPart(Part, frozen=True, kw_only=True):
    step: str  # files
    prefill: str
    layers: Positive
    kv_heads: Positive
    head_dim: Positive
    width: Positive
    positions: Positive  # that a slot holds
    spare_positions: Positive  # behind them, for the filling of a prefill's last block
    codebooks: Positive
    vocabulary: Positive  # of codebook 0, with control ids
    codes: Positive  # of every codebook
    most_likely: Positive  # how many codes may be drawn from at most

    @property
    def nothing(self) -> int:
        """The row of the frame table that adds nothing."""
        return self.vocabulary + (self.codebooks - 1) * self.codes

    @property
    def starts(self) -> NDArray[np.int64]:
        """[Q]: the row of each codebook's first code."""
        return np.concatenate([[0], self.vocabulary + np.arange(self.codebooks - 1) * self.codes])

    @property
    def speaker(self) -> int:
        """In a row of inputs: the slot's speaker embedding stands here."""
        return self.nothing + 1

    @property
    def follow(self) -> int:
        """In a row of inputs: the slot's last frame stands here."""
        return self.nothing + 2


class VocoderState(Part, frozen=True, kw_only=True):
    name: str
    shape: tuple[int, ...]  # without the batch axis


class VocoderPart(Part, frozen=True, kw_only=True):
    file: str
    states: tuple[VocoderState, ...]
    rate_hz: Positive
    hop_length: Positive  # samples a frame
    positions: Positive  # frames that a stream may have


class TextPart(Part, frozen=True, kw_only=True):
    tokenizer: str  # file
    role: tuple[Id, ...]  # ids that open the assistant's reply
    instruction_open: tuple[Id, ...]
    instruction_close: tuple[Id, ...]
    pad: Id
    begin: Id
    end: Id


class CodecIds(Part, frozen=True, kw_only=True):
    pad: Id
    begin: Id
    end: Id
    think: Id
    nothink: Id
    think_begin: Id
    think_end: Id
    languages: dict[str, Id]  # with dialects
    speakers: dict[str, Id]
    dialects: dict[str, str]  # of speakers that have one


class SamplingPart(Part, frozen=True, kw_only=True):
    """Defaults of the checkpoint. Temperature 0 is the likeliest; top_k 0 is all that may be drawn."""

    temperature: float
    top_k: Id
    top_p: float
    repetition_penalty: float
    inner_temperature: float
    inner_top_k: Id
    inner_top_p: float
    min_frames: Id = 2


class CloningPart(Part, frozen=True, kw_only=True):
    speaker_encoder: str  # files
    codec_encoder: str
    width: Positive


class Qwen3TtsSection(Part, frozen=True, kw_only=True):
    kind: Literal["base", "custom_voice", "voice_design"]
    takes_instructions: bool
    talker: TalkerPart
    vocoder: VocoderPart
    text: TextPart
    codec: CodecIds
    sampling: SamplingPart
    cloning: CloningPart | None = None

    @property
    def frame_s(self) -> float:
        return self.vocoder.hop_length / self.vocoder.rate_hz
