"""Cloned voices: what of a recording is refused, and how a kept voice is spoken with."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.errors import BadParameter, BundleError
from engines.families.added_voices import added_voices, voice_bytes
from engines.families.common import voice_files
from engines.families.common.recordings import check_recording
from engines.families.qwen3_tts import family as qwen3_family
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.cloning import ClonedVoice, VoiceEncoder
from engines.messages import Failed, SetVoice, Submit
from engines.runtime.onnx_cpu import OnnxCpu
from tests.qwen3_tts.conftest import Streams
from tests.qwen3_tts.recordings import tone

TEXT = "Hello world, the quick brown fox speaks."


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (tone(3), 8_000, "the recording has 8000 Hz, right is 16000 Hz or more"),
        (tone(0.5), 24_000, "is 0.5 s long, right is 2 to 30 s"),
        (tone(31), 24_000, "is 31.0 s long, right is 2 to 30 s"),
        (tone(3, level=0.001), 24_000, "too quiet: its loudest 20 ms are at -61 dBFS, right is above -34"),
        (np.concatenate([tone(1), np.zeros(72_000, np.float32)]), 24_000, "75% of the recording is silence"),
        (np.clip(tone(3, level=3), -1, 1), 24_000, "of the samples are clipped, right is at most 0.1%"),
        (np.full(72_000, np.nan, np.float32), 24_000, "samples that are no numbers"),
    ],
)
def test_a_bad_recording_is_refused_by_name(samples: np.ndarray, rate_hz: int, message: str) -> None:
    with pytest.raises(BadParameter, match=re.escape(message)):
        check_recording(samples, rate_hz)


def test_a_bundle_that_cannot_clone_says_so(bundle: Bundle, backend: OnnxCpu) -> None:
    with pytest.raises(BundleError, match="cannot clone voices: its checkpoint is of kind custom_voice, right is base"):
        VoiceEncoder(bundle, backend)


def _voice(bundle: Bundle, seed: int, frames: int) -> ClonedVoice:
    rng, talker = np.random.default_rng(seed), bundle.qwen3_tts.talker
    return ClonedVoice(
        speaker=rng.standard_normal(talker.width).astype(np.float32),
        text=rng.integers(0, 300, 5 if frames else 0),
        frames=rng.integers(0, talker.codes, (frames, talker.codebooks)),
    )


def _packed(bundle: Bundle, seed: int, frames: int) -> bytes:
    return voice_files.packed(_voice(bundle, seed, frames).arrays, {"consent": "a test"})


def _engine(bundle: Bundle, voices: Path) -> Engine:
    return load_engine(bundle, EngineConfig(slots=3, workers=False, sheds=False, voices=voices))


def _heard(engine: Engine, voice: str, parts: list[str]) -> bytes:
    streams = Streams(engine)
    streams.submit("one", voice=voice)
    streams.say("one", parts)
    return streams.run()["one"].pcm


def test_kept_voices_are_spoken_with(base: Bundle, tmp_path: Path) -> None:
    """By embedding alone and with a reference, in which text that comes word by word is the text at once."""
    voice_files.write(tmp_path, "anna", _packed(base, 1, frames=0))
    voice_files.write(tmp_path, "ben", _packed(base, 2, frames=20))
    engine, heard = _engine(base, tmp_path), {}
    for voice in ("default", "anna", "ben"):
        heard[voice] = _heard(engine, voice, [TEXT])
        assert heard[voice] == _heard(engine, voice, [f"{word} " for word in TEXT.split()])
    assert len({*heard.values()}) == 3
    assert all(heard.values())


@pytest.mark.parametrize("frames", [1, 3, 5, 6, 20])
def test_a_shared_reference_changes_no_bit(
    base: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """Rows of a recording that every utterance begins with are computed once for the voice, and copied."""
    voice_files.write(tmp_path, "ben", _packed(base, 2, frames))
    engine, own = _engine(base, tmp_path), "Fox."
    first, again = _heard(engine, "ben", [TEXT]), _heard(engine, "ben", [TEXT])
    assert first == again
    short = _heard(engine, "ben", [own])
    with monkeypatch.context() as patched:
        patched.setattr(qwen3_family, "shared_rows", lambda num_text, num_frames: 0)
        apart = _engine(base, tmp_path)
        assert _heard(apart, "ben", [TEXT]) == first
        assert _heard(apart, "ben", [own]) == short
        submit = Submit(request_id="one", voice="ben", seed=1)
        alone = apart.model.family.open(submit).prefix
    shared = engine.model.family.open(submit).prefix
    assert shared is not None
    assert alone is not None
    assert len(shared.rows) == len(alone.rows) + min(5, frames)


def test_voices_change_while_the_engine_runs(base: Bundle, tmp_path: Path) -> None:
    """Under one name another voice sounds another way; an utterance keeps the voice that it began with."""
    one, other = _packed(base, 1, frames=0), _packed(base, 2, frames=0)
    engine = _engine(base, tmp_path)
    engine.submit(SetVoice(voice="anna", content=one))
    first = _heard(engine, "anna", [TEXT])
    streams = Streams(engine)
    streams.submit("begun", voice="anna")
    streams.say("begun", [TEXT])
    for _ in range(5):
        streams.step()
    engine.submit(SetVoice(voice="anna", content=other))
    assert streams.run()["begun"].pcm == first
    assert _heard(engine, "anna", [TEXT]) not in (first, _heard(engine, "default", [TEXT]))
    engine.submit(SetVoice(voice="anna", content=one))
    assert _heard(engine, "anna", [TEXT]) == first
    engine.submit(SetVoice(voice="anna", content=None))
    streams = Streams(engine)
    streams.submit("late", voice="anna")
    last = streams.run()["late"].last
    assert isinstance(last, Failed)
    assert last.code == "unknown_voice"


def test_files_that_are_no_voice_of_the_bundle_are_named_and_left_out(base: Bundle, tmp_path: Path) -> None:
    voice = _voice(base, 1, frames=3)
    odd = ClonedVoice(speaker=voice.speaker[:3], text=voice.text, frames=voice.frames)
    contents = {
        "bytes": b"no",
        "cut": _packed(base, 1, frames=3)[:-300],
        "good": _packed(base, 1, frames=3),
        "large": bytes(voice_bytes(base) + 2**16 + 1),
        "long": _packed(base, 1, frames=64),
        "odd": voice_files.packed(odd.arrays, {}),
        "part": voice_files.packed({"speaker": voice.speaker}, {}),
        "default": _packed(base, 1, frames=3),
    }
    for name, content in contents.items():
        voice_files.write(tmp_path, name, content)
    found, problems = added_voices(base, tmp_path)
    assert [*found] == ["good"]
    assert "it is no readable voice" in problems["bytes"]
    assert "it is no readable voice" in problems["cut"]
    assert f"more than {voice_bytes(base) + 2**16} bytes" in problems["large"]
    assert "takes 64 of a slot's 128 positions, right is below half" in problems["long"]
    assert "it is a voice of another model: clone it again" in problems["odd"]
    assert "it has no text, frames" in problems["part"]
    assert "the bundle has a voice of that name" in problems["default"]
    assert _heard(_engine(base, tmp_path), "good", [TEXT])


def test_a_voice_file_is_named_by_what_it_sounds_like(base: Bundle, bundle: Bundle, tmp_path: Path) -> None:
    one = voice_files.unpacked(voice_files.packed(_voice(base, 1, 3).arrays, {"created_s": 1}))
    again = voice_files.unpacked(voice_files.packed(_voice(base, 1, 3).arrays, {"created_s": 2}))
    assert one.digest == again.digest != voice_files.unpacked(_packed(base, 2, 3)).digest
    with pytest.raises(BadParameter, match=r"voice name '\.\./x' must be 1 to 64"):
        voice_files.write(tmp_path, "../x", one.content)
    with pytest.raises(BadParameter, match="there is no added voice 'ben'; there are: none"):
        voice_files.remove(tmp_path, "ben")
    copy = shutil.copytree(bundle.folder, tmp_path / "copy")
    assert added_voices(bundle, copy) == ({}, {})


def test_a_recording_becomes_a_voice(base: Bundle, backend: OnnxCpu, tmp_path: Path) -> None:
    encoder = VoiceEncoder(base, backend)
    voice = encoder.encode_voice(tone(3), 24_000, "hello world")
    assert voice.frames.shape == (37, 4)
    assert encoder.encode_voice(tone(3), 24_000, " ").frames.shape == (0, 4)
    assert encoder.encode_voice(tone(3, rate_hz=48_000), 48_000, "hello world").frames.shape == (37, 4)
    with pytest.raises(BadParameter, match="takes 75 of a slot's 128 positions, right is below half: cut it"):
        encoder.encode_voice(tone(6), 24_000, "hello world")
    voice_files.write(tmp_path, "me", voice_files.packed(voice.arrays, {}))
    assert _heard(_engine(base, tmp_path), "me", ["Good morning."])
