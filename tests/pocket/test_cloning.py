"""A voice from a recording, beside the package's own; what is told of recordings and weights that cannot be used."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.families.pocket.bundle import Bundle
from engines.families.pocket.cloning import ends_on_pause
from models.checkpoints.pocket import files
from models.checkpoints.safetensors import SINGLE, Tensors, write
from models.exporting.__main__ import main
from models.exporting.pocket.cloning import encode_voice, is_recording, read_recording
from tests.qwen3_tts.recordings import encoded

NAME = "english_2m_2026-10"
RATE_HZ = 24_000


def voiced(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A hum whose level moves, and half a second of silence behind it."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    hum = sum(np.sin(2 * np.pi * 120 * harmonic * times) / harmonic for harmonic in range(1, 9))
    speech = 0.2 * hum * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * times))
    return np.concatenate([speech, np.zeros(rate_hz // 2)]).astype(np.float32)


def recorded(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@torch.no_grad()
def test_a_voice_is_the_packages(smallest: Path) -> None:
    pytest.importorskip("pocket_tts", reason="pocket-tts is not installed (make test brings it)")
    from tests.pocket.reference import build

    ours = files.read(str(smallest), [], NAME, hears=True)
    samples = voiced(2.3)
    state = build(ours.config, smallest).get_state_for_audio_prompt(torch.from_numpy(samples[None]))
    keys, values = encode_voice(ours.config, ours.weights, ends_on_pause(samples, RATE_HZ))
    for layer in range(ours.config.flow_lm.transformer.num_layers):
        cache = state[f"transformer.layers.{layer}.self_attn"]["cache"][:, 0].numpy()
        theirs = cache.transpose(0, 2, 1, 3)[:, :, : keys.shape[2]]
        for found, wanted in zip((keys[layer], values[layer]), theirs, strict=True):
            assert found.shape == wanted.shape
            assert np.abs(found - wanted).max() < 2e-4 * np.abs(wanted).max(), layer


def test_a_recording_becomes_a_voice_of_the_bundle(smallest: Path, tmp_path: Path) -> None:
    mine, out = recorded(tmp_path / "mine.wav", voiced(2.5, 48_000), 48_000), tmp_path / "bundle"
    asked = [str(smallest), "--model", NAME, "--voice", "alba", "--voice", str(mine), "--voice-licence", "mine alone"]
    assert main([*asked, "--out", str(out)]) == 0
    bundle = Bundle.load(out)
    assert [(voice.id, voice.licence) for voice in bundle.voices] == [("alba", "CC-BY-4.0"), ("mine", "mine alone")]
    assert bundle.voice("mine").positions == 1 + 33, "one for the beginning, and one each 80 ms"


@pytest.mark.parametrize("kind", ["u8", "s16", "s24", "s32", "flt", "mp3", "flac"])
def test_a_recording_is_read_as_the_server_reads_it(tmp_path: Path, kind: str) -> None:
    """A WAV of any width, and what other recorders write; in any case of the name, or without an ending."""
    samples = voiced(2.5, 48_000)
    codec = {"mp3": "libmp3lame", "flac": "flac", "flt": "pcm_f32le", "u8": "pcm_u8"}.get(kind, f"pcm_{kind}le")
    content = encoded(samples, kind if codec in ("libmp3lame", "flac") else "wav", codec, 48_000)
    for name in ("Jo.WAV", "jo.mp3", "jo"):
        path = tmp_path / name
        path.write_bytes(content)
        assert is_recording(str(path))
        found = read_recording(path)
        assert (found.name, found.rate_hz) == (path.stem, 48_000)
        if kind != "mp3":
            assert np.abs(found.samples - samples).max() < 0.01
    assert not is_recording("alba")
    assert not is_recording("mine.SAFETENSORS")
    assert is_recording("not/there.Opus")


def test_cloning_without_a_voice_is_told_before_weights_are_read(
    smallest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "read_weights", lambda *_, **__: pytest.fail("weights were read"))
    assert main([str(smallest), "--model", NAME, "--cloning", "--out", str(tmp_path / "none")]) == 1
    assert "error: name at least one voice: --voice alba" in capsys.readouterr().err


def test_recordings_and_weights_that_cannot_be_used(
    smallest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*voices: Path, source: Path = smallest, licence: bool = True) -> str:
        asked = [str(source), "--model", NAME, "--out", str(tmp_path / "none")]
        given = [part for voice in voices for part in ("--voice", str(voice))]
        assert main([*asked, *given, *(["--voice-licence", "mine"] if licence else [])]) == 1
        return capsys.readouterr().err

    good = recorded(tmp_path / "good.wav", voiced(2.5))
    assert "good.wav is a voice of your own: say its licence" in told(good, licence=False)
    assert "short.wav: the recording is 1.0 s long, right is 2 to 30 s" in told(
        recorded(tmp_path / "short.wav", voiced(0.5))
    )
    unread = "right is WAV, FLAC, MP3, Ogg, AAC, M4A or WebM"
    for name in ("text.wav", "text.MP3", "text"):
        (tmp_path / name).write_text("no sound")
        assert f"{name}: the file cannot be read as audio" in (heard := told(tmp_path / name))
        assert unread in heard
    assert "none.Flac cannot be read: No such file or directory" in told(tmp_path / "none.Flac")
    with monkeypatch.context() as patched:
        patched.setattr(files, "read_weights", lambda *_, **__: pytest.fail("weights were read"))
        told(tmp_path / "short.wav")
    ungated = tmp_path / "ungated"
    tensors = Tensors.of_file(smallest / SINGLE)
    values = {name: tensors.read(name) for name in tensors.names()}
    for name, value in values.items():
        if name.startswith("mimi.encoder"):
            value.zero_()
    ungated.mkdir()
    for path in smallest.iterdir():
        if path.name != SINGLE:
            (ungated / path.name).symlink_to(path)
    write(ungated / SINGLE, values)
    assert "these weights hold no voice encoder: take those of hf://kyutai/pocket-tts" in told(good, source=ungated)
