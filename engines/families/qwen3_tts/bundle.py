"""The manifest of a Qwen3-TTS bundle, and the voices of its checkpoint; cloned ones come and go beside them."""

from __future__ import annotations

from typing import ClassVar

from engines.families import bundle
from engines.families.bundle import Voice
from engines.families.qwen3_tts.section import Qwen3TtsSection

NO_SPEAKER = "default"  # the voice of a checkpoint without named speakers: the model's own choice


class Bundle(bundle.Bundle, frozen=True, kw_only=True):
    FAMILY: ClassVar[str] = "qwen3_tts"
    CHOOSES_LANGUAGE: ClassVar[bool] = True

    qwen3_tts: Qwen3TtsSection

    @property
    def voices(self) -> tuple[Voice, ...]:
        dialects = self.qwen3_tts.codec.dialects
        found = tuple(
            Voice(id=one, name=one.title(), description=f"speaks {dialects[one]}" if one in dialects else "")
            for one in self.qwen3_tts.codec.speakers
        )
        return found or (Voice(id=NO_SPEAKER, name="Default", description="a voice of the model's choice"),)

    @property
    def languages(self) -> tuple[str, ...]:
        """With dialects."""
        return tuple(self.qwen3_tts.codec.languages)

    @property
    def used_files(self) -> tuple[str, ...]:
        section = self.qwen3_tts
        cloning = section.cloning
        encoders = () if cloning is None else (cloning.speaker_encoder, cloning.codec_encoder)
        return (section.talker.step, section.talker.prefill, section.vocoder.file, section.text.tokenizer, *encoders)
