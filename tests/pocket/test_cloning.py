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
from models.exporting.pocket.cloning import encode_voice

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


def test_recordings_and_weights_that_cannot_be_used(
    smallest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    (tmp_path / "text.wav").write_text("no sound")
    assert "text.wav is no readable WAV file" in told(tmp_path / "text.wav")
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
