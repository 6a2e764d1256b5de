"""From Kokoro's blocks to a bundle that speaks, small; and what the times and the pitch of a block become."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import load_bundle
from engines.synth import speak
from engines.text import FrontEnd
from models.framing import HOP
from models.lm_data import example, pause_types, phone_ids
from models.teacher.prepare import load, natural_pitch, pitch
from models.teacher.timed import timed_examples
from models.teachers.kokoro import prepare, times
from models.teachers.kokoro.speaker import Prosody, Speaker
from models.teachers.kokoro.texts import Texts
from models.train_durations import SHORT_PHONES
from models.voice_plan import STEPS

FIXTURE = Path(__file__).parent / "fixture" / "kokoro"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    made = [sys.executable, "-m", "models.make_voice", "--teacher", "kokoro", "--smoke", "--threads", "1"]
    made += arguments
    return subprocess.run(made, capture_output=True, text=True)


@pytest.mark.timeout(900)  # a minute of CPU time in a dozen processes, on a machine that may do other work
def test_a_voice_from_blocks(tmp_path: Path) -> None:
    work = tmp_path / "work"
    begun = command("--work", str(work), "--until", "codec")
    assert begun.returncode == 0, begun.stderr
    assert torch.load(work / "codec.pt", weights_only=False)["step"] == STEPS["codec"][1], "budgets are steps"
    assert not (work / "codes.pkl").exists()
    finished = command("--work", str(work))
    assert finished.returncode == 0, finished.stderr
    assert "codec: there already" in finished.stdout
    bundle = load_bundle(work / "bundle")
    assert [voice.id for voice in bundle.voices] == ["af_heart"]
    assert bundle.vocoder.sees_text
    engine = load_engine(bundle, EngineConfig(slots=1, workers=False))
    assert len(speak(engine, "Hello there.", voice="af_heart").pcm) > 16_000
    engine.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--until", "codek"), "the stages are kokoro_prepare, codec"),
        (("--hours", "af_heart:ten"), "af_heart:ten"),
    ],
)
def test_what_is_asked_wrongly_is_named(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    refused = command("--work", str(tmp_path), *arguments)
    assert refused.returncode == 1
    assert message in refused.stdout


def test_prepared_speech_has_the_front_ends_phones(tmp_path: Path) -> None:
    prepare.prepare(FIXTURE, tmp_path, "af_heart")
    utterances, pcm, f0 = load(tmp_path, "af_heart")
    assert len(f0) * HOP == len(pcm) == sum(one.samples for one in utterances)
    front_end = FrontEnd.load()
    for one in utterances:
        phones = front_end.phones(one.text)
        assert phone_ids(one).tolist() == [phone.id for phone in phones]
        assert pause_types(one) == [int(phone.pause or 0) for phone in phones]
        ends = example(one, np.zeros(one.samples // 640, int), 0).ends
        assert (np.diff(ends) > 0).all(), "each phone lasts"
    voiced = np.asarray(f0)[np.asarray(f0) > 0]
    assert voiced.min() >= prepare.MIN_VOICED_HZ
    assert 150 < np.median(voiced) < 250, "a woman's voice"


def made_up(phones: list[str], owner: list[int | None], frames: list[int]) -> dict[str, Any]:
    given = [[symbol, 0, 1, 1 if symbol == "pau" else 0] for symbol in phones]
    samples = 600 * sum(frames)
    return {
        "phones": given,
        "owner": owner,
        "frames": frames,
        "samples": samples,
        "voice": "x",
        "stretch": 1,
        "text": "",
    }


def test_times_are_the_teachers_without_its_lag() -> None:
    record = made_up(["pau", "s", "iy", "pau"], [1, None, 2, 3], [4, 8, 2, 8, 10, 2])
    expected = np.array([4, 4 + 8 + 1, 4 + 8 + 2 + 8, 4 + 8 + 2 + 8 + 10 + 2]) * 0.025 - prepare.LAG_S
    assert np.allclose(prepare.phone_ends(record), expected)


def test_silence_belongs_to_the_pause() -> None:
    record = made_up(["pau", "s", "iy", "pau"], [1, 2, 3], [4, 8, 16, 10, 2])
    samples = np.zeros(40 * 400, np.int16)
    samples[1920:9600] = 5000 * np.sign(np.sin(np.arange(7680)))  # from 0.12 to 0.6 s; the teacher says 0.055 to 0.655
    found = prepare.read(record, prepare.audible_hops(samples))
    ends = [end_s for _, end_s, _, _, _ in found["segments"]]
    assert ends[0] == pytest.approx(0.12)
    assert ends[2] == pytest.approx(0.6)
    assert ends[3] == pytest.approx(1.0)


def test_each_phone_lasts_a_hop() -> None:
    """Frames are two and a half hops, so ends lie between hops."""
    for opening in range(1, 40):
        record = made_up(["pau", "t", "iy", "pau"], [1, 2, 3], [opening, 1, 1, 1, 1])
        record["frames"][1:] = [0.4 * one for one in record["frames"][1:]]
        record["samples"] = round(600 * sum(record["frames"]))
        found = prepare.read(record, np.ones(200, bool))
        ends = np.round(np.array([end_s for _, end_s, _, _, _ in found["segments"]]) * 100).astype(int)
        assert np.diff(ends, prepend=0).min() >= 1


def test_pitch_of_natural_speech_is_found_where_it_is_loud(tmp_path: Path) -> None:
    """The graph knows F0, so its speech stands for a person's."""
    prepare.prepare(FIXTURE, tmp_path, "af_heart")
    utterances, pcm, f0 = load(tmp_path, "af_heart")
    missed, invented, voiced, unvoiced = np.zeros(2), np.zeros(2), 0, 0
    for one in utterances:
        samples = np.array(pcm[one.offset : one.offset + one.samples])
        true = np.array(f0[one.offset // HOP : (one.offset + one.samples) // HOP]) > 0
        level = np.sqrt((samples.reshape(-1, HOP).astype(float) ** 2).mean(1))
        loud = true & (level > 0.1 * level.max())
        for way, found in enumerate((pitch(samples), natural_pitch(samples))):
            assert found.dtype == np.float32
            missed[way] += (loud & (found == 0)).sum()
            invented[way] += (~true & (found > 0)).sum()
        voiced, unvoiced = voiced + loud.sum(), unvoiced + (~true).sum()
    print(f"missed {missed / voiced}, invented {invented / unvoiced}")
    assert missed[1] < 0.75 * missed[0]
    assert invented[1] < 0.05 * unvoiced


def test_the_other_teachers_pitch_is_as_it_was() -> None:
    utterances, pcm, f0 = load(FIXTURE.parent, "rms")
    for one in utterances[:3]:
        found = pitch(np.array(pcm[one.offset : one.offset + one.samples]))
        np.testing.assert_allclose(found, f0[one.offset // HOP : (one.offset + one.samples) // HOP], rtol=1e-5)


def test_pitch_keeps_voicing_apart() -> None:
    f0 = np.array([0, 0, 100, 102, 104, 0, 0, 0], np.float32)
    found = prepare.pitch(f0, 0, 10)
    voiced = found > 0
    assert voiced.any()
    assert not voiced.all()
    assert found[voiced].min() >= 100, "no mean of a voiced and an unvoiced value"


class Planner:
    """Two frames a token, quiet before and behind the phones."""

    def plan(self, symbols: str, voice: str, speed: float = 1.0) -> Prosody:
        frames = np.full(len(symbols) + 2, 2)
        energy = np.full(2 * int(frames.sum()), 5, np.float32)
        energy[:8] = energy[-8:] = -5
        return Prosody(frames=frames, f0_hz=np.full(len(energy), 150, np.float32), energy=energy)


def test_times_of_text_that_is_not_spoken_survive_a_kill(tmp_path: Path) -> None:
    texts, planner = (
        Texts(
            ["The sun went down.", "Is it late?"],
            "a river runs by my old house and it is cold in the long winter".split(),
        ),
        cast(Speaker, Planner()),
    )
    hours = {"af_heart": 0.05, "am_michael": 0.03}
    times.times(tmp_path / "whole", hours, planner, texts)
    times.times(tmp_path / "killed", hours, planner, texts)
    whole, killed = (tmp_path / name / "af_heart.jsonl" for name in ("whole", "killed"))
    killed.write_text(whole.read_text()[:-300])
    times.times(tmp_path / "killed", hours, planner, texts)
    assert killed.read_text() == whole.read_text()
    examples = timed_examples(tmp_path / "whole", list(hours))
    assert {one.speaker for one in examples} == {0, 1}
    assert sum(len(one.phones) <= SHORT_PHONES for one in examples) >= 5 * times.SHORT * 0.9, "five blocks"
    assert all((np.diff(one.ends) > 0).all() for one in examples), "each phone lasts"
    assert examples[0].phones.tolist() == [
        phone.id for phone in FrontEnd.load().phones(json.loads(whole.read_text().splitlines()[0])["text"])
    ]


def test_energy_tells_silence_from_speech_as_samples_do() -> None:
    energy = np.full(80, 5, np.float32)
    energy[:16] = energy[60:] = -5
    audible = np.flatnonzero(prepare.audible_by_energy(energy))
    assert abs(audible[0] - 20) <= 1
    assert abs(audible[-1] - 74) <= 1
