"""Qwen3-TTS behind the six Protocols: one text id a frame in, 16 codes a frame out, an end that is learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from engines.errors import BadParameter
from engines.families.base import Drafter, ModelSpec, OptionSpec, Script, Talker, Vocoder, VoiceSpec
from engines.families.common.options import TEXT_SETTINGS, check_options
from engines.families.common.voice_files import VoiceFile, check_same_voice, unpacked
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.cloning import voice_of
from engines.families.qwen3_tts.prompt import Rows, VoicePrefix
from engines.families.qwen3_tts.script import Qwen3TtsScript, Reference, depth_sampling, no_rows
from engines.families.qwen3_tts.section import Qwen3TtsSection
from engines.families.qwen3_tts.talker import Qwen3TtsTalker
from engines.families.qwen3_tts.tokens import ids_of, load_tokenizer
from engines.families.qwen3_tts.vocoder import Qwen3TtsVocoder
from engines.messages import Submit
from engines.runtime.base import Backend
from engines.text import FOR_THE_EAR
from engines.text.plain import PlainText

MAX_INSTRUCTION_CHARS = 2000
_NO_NUMBERS = ("language", "instruction", TEXT_SETTINGS.name)
RESAMPLED_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)


class Qwen3TtsFamily:
    def __init__(self, bundle: Bundle, host: Backend, voices: Mapping[str, VoiceFile] = MappingProxyType({})) -> None:
        """`voices`: those that were added, by name."""
        self._bundle, self._section = bundle, bundle.qwen3_tts
        self._cloned = {name: voice_of(file, self._section) for name, file in voices.items()}
        self._tokenizer = load_tokenizer(bundle.folder / self._section.text.tokenizer)
        self._rows = Rows(self._section)
        self._spec = spec_of(bundle)

    def spec(self, backend: Backend) -> ModelSpec:
        return self._spec

    def validate(self, submit: Submit) -> None:
        spec = self._spec
        if submit.voice not in self._cloned:
            self._bundle.voice(submit.voice)
        else:
            check_same_voice(submit, self._cloned[submit.voice].digest)
        if submit.sample_rate_hz not in spec.rates_hz:
            valid = ", ".join(map(str, spec.rates_hz))
            raise BadParameter(f"sample_rate_hz {submit.sample_rate_hz} is not spoken; valid: {valid}")
        check_options(submit, spec.options, self._bundle.name)
        most = spec.positions // 2  # of a slot: speech has the rest
        if (tokens := len(self._instruction(submit))) > most:
            raise BadParameter(f"instruction: it has {tokens} tokens, at most {most}; say it in fewer words")

    def set_voice(self, name: str, content: bytes | None) -> None:
        """None: it is no more. Utterances that speak with it go on as they began."""
        if content is None:
            self._cloned.pop(name, None)
        else:
            self._cloned[name] = voice_of(unpacked(content), self._section)

    def _instruction(self, submit: Submit) -> list[int]:
        text = str(submit.option("instruction", "")).strip()
        return ids_of(self._tokenizer, text) if text else []

    def open(self, submit: Submit) -> Script:
        asked, section = dict(submit.options), self._section
        language = asked.get("language")
        speaker, cloned = section.codec.speakers.get(submit.voice), self._cloned.get(submit.voice)
        if cloned is not None:
            speaker = section.talker.speaker
        opening = self._rows.opening(None if language in (None, "auto") else language.lower(), speaker)
        instruction = self._instruction(submit)
        reference = None
        if cloned is not None and len(cloned.frames):
            text, every = tuple(cloned.text.tolist()), self._rows.reference(cloned.frames)
            shared = 0 if instruction else shared_rows(len(text), len(cloned.frames))
            for row, one in zip(every[:shared], text, strict=False):
                row[0] = one
            opening = np.concatenate([opening, *(row[None] for row in every[:shared])])
            reference = Reference(text=text[shared:], rows=every[shared:])
        if instruction:  # read first; too long to be worth a kept prefix
            rows = [*self._rows.instruction(instruction), *opening]
            prefix = VoicePrefix(key=None, rows=no_rows(section), speaker=cloned.speaker if cloned else None)
        else:
            rows = []
            key = f"{submit.voice} {cloned.digest if cloned else ''} {language}"
            prefix = VoicePrefix(key=key, rows=opening, speaker=cloned.speaker if cloned else None)
        numbers = {name: float(given) for name, given in asked.items() if name not in _NO_NUMBERS}
        plain = PlainText(asked.get(TEXT_SETTINGS.name, FOR_THE_EAR))
        sampling = depth_sampling(section, numbers)
        return Qwen3TtsScript(section, plain, self._tokenizer, sampling, prefix, rows, reference, submit.sample_rate_hz)

    def talker(self, backend: Backend, slots: int) -> Talker:
        return Qwen3TtsTalker(self._bundle, backend, slots)

    def vocoder(self, backend: Backend, slots: int) -> Vocoder:
        return Qwen3TtsVocoder(self._bundle, backend, slots)

    def drafter(self, backend: Backend, *, tolerance: int) -> Drafter | None:
        self._bundle.check_draft_tolerance(tolerance)
        return None


def shared_rows(num_text: int, num_frames: int) -> int:
    """How many rows of a reference hold its own text alone; the last frame's is a step, of no prefix."""
    return min(num_text, num_frames)


def spec_of(bundle: Bundle) -> ModelSpec:
    section, talker = bundle.qwen3_tts, bundle.qwen3_tts.talker
    positions = talker.positions + talker.spare_positions
    cache = 2 * 4 * talker.layers * talker.kv_heads * talker.head_dim * positions
    states = 4 * sum(math.prod(one.shape) for one in section.vocoder.states)
    return ModelSpec(
        family=bundle.FAMILY,
        name=bundle.name,
        version=bundle.version,
        digest=bundle.digest,
        frame_s=section.frame_s,
        frame_width=talker.codebooks,
        frame_dtype="int64",
        row_width=1 + talker.codebooks,
        prompt_width=1 + talker.codebooks,
        positions=talker.positions,
        bytes_per_slot=cache + states,
        chunk_frames=(1, 2, 4, 8),
        first_frames=(1, 2),
        opening_frames=1,
        vocoder_restarts=True,
        rates_hz=tuple(sorted({*RESAMPLED_HZ, section.vocoder.rate_hz})),
        native_rate_hz=section.vocoder.rate_hz,
        voices=tuple(VoiceSpec(id=one.id, name=one.name, description=one.description) for one in bundle.voices),
        options=options(section),
    )


def options(section: Qwen3TtsSection) -> tuple[OptionSpec, ...]:
    found = [
        OptionSpec(name="language", kind="text", choices=("auto", *section.codec.languages)),
        OptionSpec(name="temperature", kind="number", least=0, most=2),
        OptionSpec(name="top_k", kind="integer", least=1, most=section.talker.most_likely),
        OptionSpec(name="top_p", kind="number", least=0.01, most=1),
        OptionSpec(name="repetition_penalty", kind="number", least=0.5, most=2),
        TEXT_SETTINGS,
    ]
    if section.takes_instructions:
        found.append(OptionSpec(name="instruction", kind="text", most=MAX_INSTRUCTION_CHARS))
    return tuple(found)
