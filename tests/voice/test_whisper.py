"""The second recogniser: what counts as a word error, and folders of speech."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ctranslate2", reason="the second recogniser is not installed: pip install '.[eval]'")

from engines.text import FrontEnd
from models.judge import whisper
from models.packages import cache_folder

FRONT_END = FrontEnd.load()


def write(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype(np.int16).tobytes())


def test_figures_and_words_are_the_same() -> None:
    spoken = ["It costs $5 at 3 o'clock.", "Twenty one days."]
    assert whisper.word_errors(FRONT_END, spoken, ["it costs five dollars at 3 o'clock", "21 days"]) == 0
    assert whisper.word_errors(FRONT_END, ["one two three four"], ["one two tree four"]) == pytest.approx(0.25)


def test_a_folder_of_speech(tmp_path: Path) -> None:
    tone = 8000 * np.sin(2 * np.pi * 300 * np.arange(24_000) / 24_000)
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, tone, 24_000)
    (tmp_path / "list.txt").write_text("One.\nTwo.\n")
    texts, speech = whisper.read_folder(tmp_path)
    assert texts == ["One.", "Two."]
    assert [len(one) for one in speech] == [16_000, 16_000]
    (tmp_path / "list.txt").write_text("One.\n")
    with pytest.raises(SystemExit, match="2 WAV files and 1 lines"):
        whisper.read_folder(tmp_path)
    write(tmp_path / "a.wav", tone, 24_000, channels=2)
    with pytest.raises(SystemExit, match="2 channels"):
        whisper.read_wav(tmp_path / "a.wav")


@pytest.mark.skipif(
    not (cache_folder() / "packages" / "whisper-base" / "model.bin").exists(),
    reason="Whisper base is not in the cache; `make judge` puts it there",
)
def test_it_hears_our_voice() -> None:
    from engines.assemble import load_engine
    from engines.config import EngineConfig
    from engines.families.phone_pointer.bundle import load_bundle
    from engines.synth import speak

    engine = load_engine(load_bundle(Path("flite")), EngineConfig(workers=False))
    text = "Please hold the line while I check your booking."
    pcm = speak(engine, text, voice="rms", seed=1, sample_rate_hz=16_000).pcm
    engine.close()
    heard = whisper.Whisper().transcribe(np.frombuffer(pcm, np.int16))
    assert whisper.word_errors(FRONT_END, [text], [heard]) <= 0.2
