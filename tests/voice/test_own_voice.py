"""From a user's recordings to a bundle that speaks, small, and killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.durations import Planner
from engines.families.phone_pointer.networks import Durations
from engines.families.phone_pointer.segmenter import Segmenter
from engines.runtime.onnx_cpu import OnnxCpu
from engines.synth import speak
from engines.text import FrontEnd
from models.teacher.prepare import load
from tests.voice.own_recordings import write_lines, write_recordings

TEXT = "Hello there, how are you today?"
BUDGETS_S = {"codec": 4, "duration": 3, "vocoder": 4, "lm": 4, "forecast": 4}


def command(manifest: Path, work: Path) -> list[str]:
    budgets = [part for name, seconds in BUDGETS_S.items() for part in (f"--{name}-minutes", str(seconds / 60))]
    given = ["--smoke", "--data", str(manifest), "--work", str(work)]
    return [sys.executable, "-m", "models.make_voice", *given, *budgets]


def kill_in_stage(arguments: list[str], stage: str) -> list[str]:
    """Runs until that stage's headline, then kills it and the training it started; returns what it printed."""
    victim = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert victim.stdout is not None
    printed = []
    for line in victim.stdout:
        printed.append(line)
        if f" {stage} " in line and "─" in line:
            break
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    return printed


def planned_s(bundle: Bundle, voice: str, speed: float) -> float:
    """By the bundle's durations alone."""
    segmenter, planner = Segmenter(speed), Planner(bundle, Durations(bundle, OnnxCpu(own_kernels="off")))
    segments = segmenter.feed(FrontEnd.load().phones(TEXT))
    segmenter.close()
    for segment in segments:
        planner.extend(segment, bundle.voice(voice).index, 1 / speed)
    return sum(segment.ends[-1] for segment in segments) * bundle.hop_s


@pytest.mark.timeout(900)
def test_voice_from_recordings(tmp_path: Path) -> None:
    manifest, _ = write_recordings(tmp_path)
    work = tmp_path / "work"
    kill_in_stage(command(manifest, work), "codec")
    assert not (work / "codec.done").exists()
    done = subprocess.run(command(manifest, work), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "recordings: there already" in done.stdout
    bundle = load_bundle(work / "bundle")
    assert [(one.id, one.index) for one in bundle.voices] == [("anna", 0), ("ben", 1)]
    written = json.loads((work / "bundle" / "manifest.json").read_text())
    assert "weights and recordings: the user's own" in written["licences"]
    assert not any("flite" in str(written[key]).lower() for key in ("name", "voices", "licences", "provenance"))
    assert len(written["provenance"]["encoder_sha256"]) == 64
    engine = load_engine(bundle, EngineConfig(slots=1, workers=False))
    seconds = {}
    for voice in ("anna", "ben"):
        for speed in (1.0, 1.3):
            pcm = np.frombuffer(speak(engine, TEXT, voice=voice, speed=speed, sample_rate_hz=16_000).pcm, np.int16)
            seconds[voice, speed] = len(pcm) / 16_000 - bundle.durations.closing_hops * bundle.hop_s
            assert pcm.any()
            assert abs(seconds[voice, speed] - planned_s(bundle, voice, speed)) <= bundle.code_s
    engine.close()
    for voice in ("anna", "ben"):
        assert 1.15 < seconds[voice, 1.0] / seconds[voice, 1.3] < 1.45
    assert_refuses_other_data(manifest, work)


def assert_refuses_other_data(manifest: Path, work: Path) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    other = write_lines(manifest.parent / "other.jsonl", lines[:-1])
    done = subprocess.run(command(other, work), capture_output=True, text=True)
    assert done.returncode == 1
    assert "holds a voice from other speech; give another --work, or --fresh" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_wrong_manifest_is_refused_before_any_work(tmp_path: Path) -> None:
    manifest = write_lines(tmp_path / "manifest.jsonl", [{"audio": "none.wav", "text": "Hello."}])
    done = subprocess.run(command(manifest, tmp_path / "work"), capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{manifest}:1: audio 'none.wav' is not a file" in done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "work").exists()


def test_prepared_recordings_keep_text_and_sound(tmp_path: Path) -> None:
    from models.lm_data import phone_ids
    from models.recordings.collect import collect
    from models.recordings.manifest import read_manifest
    from models.teacher.prepare import prepare

    manifest, printed = write_recordings(tmp_path)
    front_end = FrontEnd.load()
    read = read_manifest(manifest, front_end, 0.0)
    collect(read, tmp_path / "raw", processes=1)
    prepare(tmp_path / "raw", tmp_path / "speech", "anna")
    utterances, pcm, f0 = load(tmp_path / "speech", "anna")
    assert [one.text for one in utterances] == [one.text for one in printed if one.voice == "rms"]
    assert len(pcm) == sum(one.samples for one in utterances) == 160 * len(f0)
    for one in utterances:
        spoken = [int(i) for i, part in zip(phone_ids(one), one.segments) if part[0] != "pau"]
        assert spoken == [phone.id for phone in front_end.phones(one.text) if phone.pause is None]
