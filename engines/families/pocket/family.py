"""Kyutai's pocket-tts: frames of 32 continuous values, one a step of 80 ms, and a causal decoder.

It has no speed, no pitch and no mixing of voices, and says so; other rates than its own are the server's resampler's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from engines.errors import BadParameter
from engines.families.base import Drafter, ModelSpec, OptionSpec, Script, Talker, Vocoder, VoiceSpec
from engines.families.common.options import TEXT_SETTINGS, check_options
from engines.families.common.voice_files import VoiceFile, check_same_voice, unpacked
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.chunks import Chunker
from engines.families.pocket.cloning import voice_of
from engines.families.pocket.script import PocketScript
from engines.families.pocket.talker import PocketTalker
from engines.families.pocket.tokens import WordTokens
from engines.families.pocket.vocoder import PocketVocoder
from engines.families.pocket.voices import prefix_of
from engines.messages import Submit
from engines.runtime.base import Backend
from engines.text import FOR_THE_EAR
from engines.text.plain import PlainText

MAX_TEMPERATURE = 2.0
OPTIONS = (OptionSpec(name="temperature", kind="number", least=0, most=MAX_TEMPERATURE), TEXT_SETTINGS)
_LACKING = {
    "speed": "speed: it speaks as its voice does",
    "pitch_semitones": "pitch: it speaks as its voice does",
    "timbre": "mixing of voices: it speaks as its voice does",
}


class PocketFamily:
    def __init__(self, bundle: Bundle, host: Backend, voices: Mapping[str, VoiceFile] = MappingProxyType({})) -> None:
        """`host` is not used: no graph runs for text. `voices`: those that were added, by name."""
        self._bundle = bundle
        self._tokens = WordTokens(bundle.folder / "tokenizer.json", bundle.text.vocabulary)
        self._voices = {voice.id: prefix_of(bundle, voice) for voice in bundle.voices}
        self._cloned = {name: voice_of(file, bundle) for name, file in voices.items()}

    def spec(self, backend: Backend) -> ModelSpec:
        bundle = self._bundle
        decoder = sum(math.prod(state.shape) for state in bundle.decoder.states)
        return ModelSpec(
            family=bundle.FAMILY,
            name=bundle.name,
            version=bundle.version,
            digest=bundle.digest,
            frame_s=bundle.frame_s,
            frame_width=bundle.frame_width,
            frame_dtype="float32",
            row_width=0,
            prompt_width=1,
            positions=bundle.lm.positions,
            bytes_per_slot=bundle.lm.positions * bundle.lm.bytes_per_position + 4 * decoder,
            chunk_frames=(1, 2, 4),
            first_frames=(1, 1),
            vocoder_restarts=True,
            rates_hz=(bundle.sample_rate_hz,),
            native_rate_hz=bundle.sample_rate_hz,
            voices=tuple(VoiceSpec(id=one.id, name=one.name, description=one.description) for one in bundle.voices),
            options=OPTIONS,
            speeds=(0.0, math.inf),
        )

    def validate(self, submit: Submit) -> None:
        rate_hz = self._bundle.sample_rate_hz
        if submit.sample_rate_hz != rate_hz:
            raise BadParameter(f"sample_rate_hz {submit.sample_rate_hz} is not the model's {rate_hz}")
        for name, given in submit.options:
            if name in _LACKING:
                shown = f" {given}" if isinstance(given, int | float) else ""
                raise BadParameter(f"{name}{shown}: this model has no {_LACKING[name]}; leave it out")
        if submit.option("pronunciations"):
            raise BadParameter("pronunciations: this model reads letters and takes no phones; leave them out")
        check_options(submit, OPTIONS, self._bundle.name)
        if submit.voice not in self._cloned:
            self._bundle.voice(submit.voice)
        else:
            check_same_voice(submit, self._cloned[submit.voice].id)

    def set_voice(self, name: str, content: bytes | None) -> None:
        """None: it is no more. Utterances that speak with it go on as they began."""
        if content is None:
            self._cloned.pop(name, None)
        else:
            self._cloned[name] = voice_of(unpacked(content), self._bundle)

    def open(self, submit: Submit) -> Script:
        chunker = Chunker(self._bundle.text, self._tokens)
        temperature = submit.option("temperature", self._bundle.temperature)
        voice = self._cloned.get(submit.voice) or self._voices[self._bundle.voice(submit.voice).id]
        text = PlainText(submit.option(TEXT_SETTINGS.name, FOR_THE_EAR))
        return PocketScript(self._bundle, text, chunker, voice, temperature)

    def talker(self, backend: Backend, slots: int) -> Talker:
        return PocketTalker(self._bundle, backend, slots)

    def vocoder(self, backend: Backend, slots: int) -> Vocoder:
        return PocketVocoder(self._bundle, backend, slots)

    def drafter(self, backend: Backend, *, tolerance: int) -> Drafter | None:
        self._bundle.check_draft_tolerance(tolerance)
        return None
