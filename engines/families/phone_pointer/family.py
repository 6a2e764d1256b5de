"""The shipped voice's family: phones with planned durations, a pointer to the one being spoken, one code a step."""

from __future__ import annotations

from engines.errors import BundleError
from engines.families.base import Drafter, ModelSpec, OptionSpec, Script, Talker, Vocoder, VoiceSpec
from engines.families.common.options import check_options
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.drafter import ForecastDrafter
from engines.families.phone_pointer.durations import Planner
from engines.families.phone_pointer.inputs import StepInputs
from engines.families.phone_pointer.networks import Durations, Forecast, SpectrumModel, SpeechModel
from engines.families.phone_pointer.overlap_add import RATES_HZ, check_rate, has_rate
from engines.families.phone_pointer.script import PointerScript
from engines.families.phone_pointer.talker import PointerTalker
from engines.families.phone_pointer.vocoder import PointerVocoder
from engines.messages import Submit
from engines.runtime.base import Backend
from engines.text import FOR_THE_EAR, NUM_PHONE_IDS, FrontEnd

MIN_SPEED, MAX_SPEED = 0.75, 1.33  # what the shipped speech model has heard
MAX_TEMPERATURE = 2.0
MAX_PITCH_SEMITONES = 12.0  # either way; the vocoder's source reaches an octave beyond what it has learnt
OPTIONS = (
    OptionSpec(name="speed", kind="number", least=MIN_SPEED, most=MAX_SPEED),
    OptionSpec(name="temperature", kind="number", least=0, most=MAX_TEMPERATURE),
    OptionSpec(name="pitch_semitones", kind="number", least=-MAX_PITCH_SEMITONES, most=MAX_PITCH_SEMITONES),
    OptionSpec(name="timbre", kind="object", description="(voice, share) pairs that the vocoder mixes"),
    OptionSpec(name="pronunciations", kind="object", description="dictionaries; the first that has a word decides"),
    OptionSpec(name="text_settings", kind="object", description="what of the text is left out, and whether tags count"),
)


class PointerFamily:
    def __init__(
        self,
        bundle: Bundle,
        host: Backend,
        *,
        front_end: FrontEnd | None = None,
        durations: Durations | None = None,
        max_expanded: int = 4096,
    ) -> None:
        """`max_expanded`: characters spoken for dictionaries' entries in one utterance."""
        found = bundle.adapter.num_phone_ids
        if found != NUM_PHONE_IDS:
            raise BundleError(f"adapter.num_phone_ids is {found}, the text front end speaks {NUM_PHONE_IDS}")
        self._bundle, self._max_expanded = bundle, max_expanded
        self._front_end = front_end or FrontEnd.load()
        self._planner = Planner(bundle, durations or Durations(bundle, host))
        self._inputs = StepInputs(bundle)

    def spec(self, backend: Backend) -> ModelSpec:
        return spec_of(self._bundle)

    def validate(self, submit: Submit) -> None:
        check_rate(self._bundle, submit.sample_rate_hz)
        check_options(submit, OPTIONS, self._bundle.name)
        self._bundle.weights(submit.voice, submit.option("timbre", ()))
        self._bundle.voice(submit.voice)

    def open(self, submit: Submit) -> Script:
        text = self._front_end.open(
            submit.option("pronunciations", ()), self._max_expanded, submit.option("text_settings", FOR_THE_EAR)
        )
        voice = self._bundle.voice(submit.voice)
        return PointerScript(submit, voice, self._bundle, text, self._planner, self._inputs)

    def talker(self, backend: Backend, slots: int) -> Talker:
        return PointerTalker(self._bundle, SpeechModel(self._bundle, backend, slots))

    def vocoder(self, backend: Backend, slots: int) -> Vocoder:
        return PointerVocoder(self._bundle, SpectrumModel(self._bundle, backend), slots)

    def drafter(self, backend: Backend, *, tolerance: int) -> Drafter | None:
        self._bundle.check_draft_tolerance(tolerance)
        if self._bundle.drafts is None:
            return None
        return ForecastDrafter(self._bundle, Forecast(self._bundle, backend), tolerance)


def spec_of(bundle: Bundle) -> ModelSpec:
    lm, positions = bundle.lm, bundle.adapter.max_steps
    return ModelSpec(
        family="phone_pointer",
        name=bundle.name,
        version=bundle.version,
        digest=bundle.digest,
        frame_s=bundle.code_s,
        frame_width=bundle.frame_width,
        frame_dtype="int64",
        row_width=bundle.adapter.features - 1,
        prompt_width=0,
        positions=positions,
        bytes_per_slot=2 * 4 * lm.layers * lm.kv_heads * lm.head_dim * positions,
        chunk_frames=(1, 2, 4, 8),
        # Never one alone where there may be two: its 18 ms after overlap are played before the next chunk can be there.
        first_frames=(2, 4),
        opening_frames=-(-bundle.durations.opening_hops // bundle.frames_per_code),
        rates_hz=tuple(rate_hz for rate_hz in RATES_HZ if has_rate(bundle, rate_hz)),
        native_rate_hz=bundle.sample_rate_hz,
        voices=tuple(VoiceSpec(id=one.id, name=one.name, description=one.description) for one in bundle.voices),
        options=OPTIONS,
        speeds=(MIN_SPEED, MAX_SPEED),
        times_words=True,
    )
