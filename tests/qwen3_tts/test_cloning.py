"""Cloned voices: what of a recording is refused, and how a kept voice is spoken with."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.config import EngineConfig
from engines.engine import Engine, Model
from engines.errors import BadParameter, BundleError
from engines.families.qwen3_tts.bundle import Bundle, load
from engines.families.qwen3_tts.cloning import ClonedVoice, VoiceEncoder, check_recording, remove, save
from engines.families.qwen3_tts.family import Qwen3TtsFamily
from engines.runtime.onnx_cpu import OnnxCpu
from tests.qwen3_tts.conftest import Streams, exported


def _tone(seconds: float, level: float = 0.3, rate_hz: int = 24_000) -> np.ndarray:
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * 180 * times) * (1 + 0.3 * np.sin(9 * times))).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (_tone(3), 16_000, "the recording has 16000 Hz, the voice encoder hears 24000 Hz"),
        (_tone(0.5), 24_000, "is 0.5 s long, right is 2 to 30 s"),
        (_tone(31), 24_000, "is 31.0 s long, right is 2 to 30 s"),
        (_tone(3, level=0.001), 24_000, "too quiet: its loudest 20 ms are at -61 dBFS, right is above -34"),
        (np.concatenate([_tone(1), np.zeros(72_000, np.float32)]), 24_000, "75% of the recording is silence"),
        (np.clip(_tone(3, level=3), -1, 1), 24_000, "of the samples are clipped, right is at most 0.1%"),
        (np.full(72_000, np.nan, np.float32), 24_000, "samples that are no numbers"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said(
    bundle: Bundle, samples: np.ndarray, rate_hz: int, message: str
) -> None:
    with pytest.raises(BadParameter, match=re.escape(message)):
        check_recording(samples, rate_hz, bundle.qwen3_tts)


def test_a_bundle_that_cannot_clone_says_so(bundle: Bundle, backend: OnnxCpu) -> None:
    with pytest.raises(BundleError, match="cannot clone voices: its checkpoint is of kind custom_voice, right is base"):
        VoiceEncoder(bundle, backend)


def _engine(bundle: Bundle, backend: OnnxCpu) -> Engine:
    family = Qwen3TtsFamily(bundle, backend)
    parts = {"talker": family.talker(backend, 3), "vocoder": family.vocoder(backend, 3)}
    model = Model(family=family, spec=family.spec(backend), drafter=None, arithmetic=backend.arithmetic, **parts)
    return Engine(model, EngineConfig(slots=3, workers=False, sheds=False))


def _voice(bundle: Bundle, seed: int, frames: int) -> ClonedVoice:
    rng, talker = np.random.default_rng(seed), bundle.qwen3_tts.talker
    return ClonedVoice(
        speaker=rng.standard_normal(talker.width).astype(np.float32),
        text=rng.integers(0, 300, min(5, frames)),
        frames=rng.integers(0, talker.codes, (frames, talker.codebooks)),
    )


def test_kept_voices_are_spoken_with(bundle: Bundle, backend: OnnxCpu, tmp_path: Path) -> None:
    """By embedding alone and with a reference, in which text that comes word by word is the text at once."""
    copy = load(shutil.copytree(bundle.folder, tmp_path / "copy"))
    assert copy.digest == bundle.digest
    save(copy.folder, "anna", _voice(copy, 1, frames=0))
    save(copy.folder, "ben", _voice(copy, 2, frames=20))
    copy = load(copy.folder)
    assert [voice.id for voice in copy.voices][-2:] == ["anna", "ben"]
    assert copy.digest != bundle.digest
    engine, text = _engine(copy, backend), "Hello world, the quick brown fox speaks."
    heard = {}
    for voice in ("serena", "anna", "ben"):
        streams = Streams(engine)
        for name, parts in (("whole", [text]), ("words", [f"{word} " for word in text.split()])):
            streams.submit(name, voice=voice)
            streams.say(name, parts)
        pcm = {name: one.pcm for name, one in streams.run().items()}
        assert pcm["whole"] == pcm["words"]
        heard[voice] = pcm["whole"]
    assert len({*heard.values()}) == 3
    assert all(heard.values())
    remove(copy.folder, "ben")
    assert [*load(copy.folder).cloned] == ["anna"]
    with pytest.raises(BadParameter, match="there is no cloned voice 'ben'; there are: anna"):
        remove(copy.folder, "ben")
    with pytest.raises(BadParameter, match=r"voice name '\.\./x' must be 1 to 64"):
        save(copy.folder, "../x", _voice(copy, 1, frames=0))


def test_a_voice_of_another_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    copy = load(shutil.copytree(bundle.folder, tmp_path / "copy"))
    voice = _voice(copy, 1, frames=3)
    save(copy.folder, "odd", ClonedVoice(speaker=voice.speaker[:3], text=voice.text, frames=voice.frames))
    with pytest.raises(BundleError, match=r"odd\.npz is a voice of another model"):
        load(copy.folder)
    (copy.folder / "voices" / "odd.npz").write_bytes(b"no")
    with pytest.raises(BundleError, match=r"odd\.npz is no readable voice"):
        load(copy.folder)


@pytest.mark.slow
def test_a_recording_becomes_a_voice(backend: OnnxCpu, tmp_path: Path) -> None:
    bundle = exported(tmp_path, "base")
    encoder = VoiceEncoder(bundle, backend)
    voice = encoder.encode_voice(_tone(3), 24_000, "hello world")
    assert voice.frames.shape == (37, 4)
    assert encoder.encode_voice(_tone(3), 24_000, " ").frames.shape == (0, 4)
    save(bundle.folder, "me", voice)
    engine = _engine(load(bundle.folder), backend)
    streams = Streams(engine)
    streams.submit("one", voice="me")
    streams.say("one", ["Good morning."])
    assert streams.run()["one"].pcm
