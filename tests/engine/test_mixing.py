"""Mixed timbres and moved pitch: how they are written, what they keep of the laws, what is heard."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import pyworld

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.errors import BadParameter, RequestError, UnknownVoice
from engines.families.common.randomness import noise
from engines.families.common.voice_mix import ChosenVoice, Timbre, choose_voice, parse_mix
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Append, Cancel, EndText, Event, Failed, Finished, LeadingSilence, Submit, options
from engines.runtime.base import FloatArray
from engines.synth import speak
from engines.text import FrontEnd
from models.cpu_networks import spectrum_model
from tests.engine.driving import pcm_of, settle

TEXT = "The ship was due at nine, but the fog had come down over the harbour and nothing moved."
NAMES = {name: name for name in ("rms", "slt", "awb", "kal16")} | {"nova": "slt"}
MIX: Timbre = (("awb", 0.25), ("rms", 0.75))


@pytest.fixture(scope="module")
def engine(bundle: Bundle, front_end: FrontEnd) -> Iterator[Engine]:
    one = load_engine(bundle, EngineConfig(slots=8, workers=False), front_end=front_end)
    yield one
    one.check_integrity()
    one.close()


def chosen_voice(voice: str, timbre: str | None = None) -> ChosenVoice:
    return choose_voice(parse_mix(voice, NAMES), None if timbre is None else parse_mix(timbre, NAMES))


class TestWriting:
    @pytest.mark.parametrize(
        ("voice", "timbre", "speaker", "shares"),
        [
            ("rms", None, "rms", ()),
            ("nova", None, "slt", ()),
            ("rms(3)", None, "rms", ()),
            ("rms", "rms", "rms", ()),
            ("rms+slt", None, "rms", (("rms", 0.5), ("slt", 0.5))),
            ("slt+rms", None, "slt", (("rms", 0.5), ("slt", 0.5))),
            (" slt (3) + rms ( 1 )", None, "slt", (("rms", 0.25), ("slt", 0.75))),
            ("rms+nova(2.5)", None, "slt", (("rms", 1 / 3.5), ("slt", 2.5 / 3.5))),
            ("rms", "slt", "rms", (("slt", 1.0),)),
            ("rms+slt(2)", "awb", "slt", (("awb", 1.0),)),
            ("rms", "rms+awb(3)", "rms", (("awb", 0.75), ("rms", 0.25))),
            ("rms+slt+awb+kal16", None, "rms", (("awb", 0.25), ("kal16", 0.25), ("rms", 0.25), ("slt", 0.25))),
        ],
    )
    def test_the_heaviest_speaks_the_first_on_ties(
        self, voice: str, timbre: str | None, speaker: str, shares: Timbre
    ) -> None:
        assert chosen_voice(voice, timbre) == ChosenVoice(voice=speaker, timbre=shares)

    def test_however_a_mix_is_written_it_is_one(self) -> None:
        written = ("rms+slt(3)", "rms(1)+slt(3.0)", "slt(0.3)+rms(0.1)", "rms(0.000007) + slt(0.000021)")
        assert {chosen_voice(one) for one in written} == {chosen_voice("rms(111)+slt(333)")}

    @pytest.mark.parametrize(
        ("mix", "kind", "says"),
        [
            ("nobody", UnknownVoice, "voice 'nobody' does not exist; valid: rms, slt"),
            ("rms+nobody(2)", UnknownVoice, "voice 'nobody' in the mix 'rms+nobody(2)' does not exist; valid: rms"),
            ("rms+", UnknownVoice, "voice '' in the mix 'rms+'"),
            ("", UnknownVoice, "voice '' does not exist"),
            ("rms-slt", UnknownVoice, "'rms-slt'"),
            ("rms(0)+slt", BadParameter, "weight '0' in 'rms(0)+slt' is not a positive number; right is one such as 2"),
            ("rms(-1)+slt", BadParameter, "weight '-1'"),
            ("rms(nan)", BadParameter, "weight 'nan'"),
            ("rms(1e9)", BadParameter, "weight '1e9'"),
            ("rms()", BadParameter, "weight ''"),
            ("rms(٣)", BadParameter, "weight '٣'"),
            ("rms(1234567)", BadParameter, "six digits"),
            ("rms+slt+rms", BadParameter, "names the voice 'rms' twice"),
            ("slt+nova", BadParameter, "names the voice 'slt' twice"),
            ("rms+slt+awb+kal16+rms", BadParameter, "has 5 voices, the limit is 4"),
            ("rms(" + "9" * 9_000 + ")", BadParameter, "999..."),
        ],
    )
    def test_what_is_wrong_is_named(self, mix: str, kind: type[RequestError], says: str) -> None:
        with pytest.raises(kind) as raised:
            parse_mix(mix, NAMES)
        assert says in str(raised.value)
        assert len(str(raised.value)) < 300


def vocoder_feeds(bundle: Bundle, rows: int, codes: int) -> tuple[np.ndarray, FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(6)
    voices = rng.dirichlet(np.full(len(bundle.voices), 0.5), rows).astype(np.float32)
    pitch = (2 ** rng.uniform(-1, 1, rows)).astype(np.float32)
    excitation = np.stack([noise(row, 0, bundle.look_back + codes * bundle.samples_per_code) for row in range(rows)])
    return rng.integers(0, bundle.codes.count, (rows, codes, 1)), voices, pitch, excitation


def test_a_row_of_the_vocoder_has_its_bits_in_any_batch(bundle: Bundle) -> None:
    vocoder = spectrum_model(bundle)
    feeds = vocoder_feeds(bundle, 64, 2)
    whole, whole_state = vocoder.run(*feeds, vocoder.initial_state(64))
    for rows in range(1, 64):
        first = 64 - rows if rows % 2 else 0
        some = slice(first, first + rows)
        part, state = vocoder.run(*(one[some] for one in feeds), vocoder.initial_state(rows))  # type: ignore[arg-type]
        assert np.array_equal(part, whole[some]), rows
        assert all(np.array_equal(state[name], array[some]) for name, array in whole_state.items()), rows


def test_a_weight_of_one_is_that_voice_whatever_the_zeros_stand_for(bundle: Bundle, engine: Engine) -> None:
    for voice in bundle.voices:
        pure = speak(engine, "Good day.", voice=voice.id).pcm
        zeros = tuple((other.id, float(other is voice)) for other in bundle.voices)
        assert speak(engine, "Good day.", voice=voice.id, timbre=zeros).pcm == pure
        assert speak(engine, "Good day.", voice=voice.id, timbre=MIX).pcm != pure


def submit(name: str, seed: int = 3, **asked: object) -> Submit:
    return Submit(request_id=name, voice="rms", seed=seed, options=options(**asked))


def test_neighbours_of_other_mixes_and_pitches_change_nothing(engine: Engine) -> None:
    expected = speak(engine, TEXT, voice="rms", timbre=MIX, pitch_semitones=2.5, seed=3).pcm
    rng = random.Random(8)
    for round_ in range(3):
        mine = f"mine-{round_}"
        events: list[Event] = []
        for at, name in enumerate(rng.sample([mine, "a", "b", "c", "d", "e"], 6)):
            shares = rng.random(), rng.random()
            mix = (("slt", shares[0] / sum(shares)), ("kal16", shares[1] / sum(shares)))
            settings = {"timbre": mix, "pitch_semitones": rng.uniform(-12, 12)}
            if name == mine:
                settings = {"timbre": MIX, "pitch_semitones": 2.5}
            engine.submit(submit(name, **settings) if name == mine else submit(name, at, **settings))
            for word in TEXT.split():
                engine.submit(Append(request_id=name, text=word + " "))
                if name == mine:
                    events += engine.step()
            engine.submit(EndText(request_id=name))
            for _ in range(rng.randint(1, 9)):
                events += engine.step()
        engine.submit(Cancel(request_id="c"))
        events += settle(engine)
        assert sum(isinstance(event, Finished) for event in events) >= 5
        assert pcm_of(events, mine) == expected


def test_codes_and_times_are_the_speakers_whatever_the_timbre(engine: Engine) -> None:
    keep = LeadingSilence.KEEP  # how much there is hangs on the timbre
    plain = speak(engine, TEXT, voice="rms", leading_silence=keep)
    for settings in ({"timbre": MIX}, {"pitch_semitones": -7.0}):
        other = speak(engine, TEXT, voice="rms", leading_silence=keep, **settings)  # type: ignore[arg-type]
        assert (len(other.pcm), other.words) == (len(plain.pcm), plain.words)
        assert other.pcm != plain.pcm


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"pitch_semitones": 12.5}, "invalid_parameter", "pitch_semitones 12.5 is out of range -12 to 12"),
        ({"pitch_semitones": float("nan")}, "invalid_parameter", "pitch_semitones nan"),
        ({"timbre": (("nobody", 1.0),)}, "unknown_voice", "'nobody'"),
    ],
)
def test_the_engine_refuses(engine: Engine, settings: dict[str, object], code: str, says: str) -> None:
    engine.submit(submit("wrong", **settings))
    (failed,) = (event for event in settle(engine) if isinstance(event, Failed))
    assert failed.code == code
    assert says in failed.message


@pytest.fixture(scope="module")
def f0_of(engine: Engine) -> Callable[..., FloatArray]:
    """By another's meter, WORLD's Harvest: Hz, 0 where it hears no voice."""

    @cache
    def found(voice: str, timbre: str | None = None, pitch_semitones: float = 0.0) -> FloatArray:
        chosen = chosen_voice(voice, timbre)
        settings = {"timbre": chosen.timbre, "pitch_semitones": pitch_semitones, "sample_rate_hz": 16_000}
        spoken = speak(engine, TEXT, voice=chosen.voice, leading_silence=LeadingSilence.KEEP, **settings)  # type: ignore[arg-type]
        wave = np.frombuffer(spoken.pcm, np.int16) / 32_768
        f0: FloatArray = pyworld.harvest(wave, 16_000, f0_floor=30.0, f0_ceil=850.0)[0]
        return f0

    return found


def median_hz(f0: FloatArray) -> float:
    return float(np.median(f0[f0 > 0]))


@pytest.mark.parametrize("voice", ["rms", "slt"])
@pytest.mark.parametrize("semitones", [12.0, 4.0, -5.0, -12.0])
def test_pitch_is_moved_by_what_was_asked(f0_of: Callable[..., FloatArray], voice: str, semitones: float) -> None:
    before, after, wanted = f0_of(voice), f0_of(voice, None, semitones), 2 ** (semitones / 12)
    both = (before > 0) & (after > 0)  # what counts as voiced changes a little with the pitch
    assert both.mean() > 0.5
    assert np.median(after[both]) / np.median(before[both]) == pytest.approx(wanted, rel=0.03)
    assert np.median(after[both] / before[both]) == pytest.approx(wanted, rel=0.01)


def test_a_mix_lies_between_its_voices(f0_of: Callable[..., FloatArray]) -> None:
    heard = [median_hz(f0_of("rms", timbre)) for timbre in ("rms", "rms(3)+slt", "rms+slt", "rms+slt(3)", "slt")]
    assert heard == sorted(heard)
    assert heard[-1] > 1.4 * heard[0]


def test_one_voices_codes_sound_as_high_as_the_timbre(f0_of: Callable[..., FloatArray]) -> None:
    for voice, timbre in (("rms", "slt"), ("slt", "rms"), ("kal16", "awb")):
        assert median_hz(f0_of(voice, timbre)) == pytest.approx(median_hz(f0_of(timbre)), rel=0.08)
