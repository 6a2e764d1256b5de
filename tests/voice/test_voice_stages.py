"""The stages of `make voice`: what they refuse to go on from, and with what budgets they train."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models import make_voice, voice_stages
from models.code_files import OtherEncoderError, refuse_old_codes
from models.codec import Codec
from models.encoder_hash import encoder_sha256
from models.make_voice import OtherDataError
from models.recordings import collect as collecting
from models.recordings.collect import TooManyLeftOutError
from models.recordings.manifest import Manifest
from models.voice_plan import Plan
from tests.voice.test_code_files import OURS, coded, state


def kokoro(work: Path) -> Plan:
    minutes = dict.fromkeys(("codec", "duration", "vocoder", "lm", "forecast"), 1.0)
    return Plan(
        work=work,
        out=work / "bundle",
        hours={"af_heart": 3.0},
        threads=1,
        smoke=False,
        teacher="kokoro",
        spoken=work,
        **{f"{part}_minutes": some for part, some in minutes.items()},  # type: ignore[arg-type]
    )


def test_everything_of_old_codes_is_named_at_once(tmp_path: Path) -> None:
    codec = Codec(1)
    encoder = encoder_sha256(codec)
    torch.save({"network": codec.state_dict(), "step": 1}, tmp_path / "codec.pt")
    (tmp_path / "unspoken").mkdir()
    for name in ("codes.pkl", "unspoken/00000-af_heart.pkl", "more.pkl"):
        coded(tmp_path / name, OURS, range(2))
    coded(tmp_path / "spoken-1.pkl", encoder, range(2))
    for name in ("listener.pt", "lm.pt", "vocoder.run", "forecast-1.pt"):
        state(tmp_path / name, OURS).save()
    for done in ("codec.done", "vocoder.done", "lm.done", "durations.done", "spoken", "prepared"):
        (tmp_path / done).touch()
    (tmp_path / "times").mkdir()
    (tmp_path / "times" / "done").touch()
    (tmp_path / "data.json").write_text('{"data": null, "teacher": "kokoro", "voices": "af_heart"}')
    with pytest.raises(OtherEncoderError) as found:
        make_voice.run(kokoro(tmp_path), fresh=False, until="encode")
    named = str(found.value).splitlines()[-1].removeprefix("rm -f ").split()
    wanted = [
        "codes.pkl",
        "listener.pt",
        "unspoken/*.pkl",
        "more.pkl",
        "vocoder.run",
        "vocoder.done",
        "lm.pt",
        "lm.done",
    ]
    assert named == [str(tmp_path / name) for name in (*wanted, "forecast-*.pt")]
    for path in (path for pattern in named for path in tmp_path.glob(str(Path(pattern).relative_to(tmp_path)))):
        path.unlink()
    refuse_old_codes(tmp_path, encoder)
    assert (tmp_path / "durations.done").exists(), "durations know nothing of codes"


def test_budgets_of_the_forecast_are_of_all_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(voice_stages.subprocess, "run", run)
    plan = replace(kokoro(tmp_path), steps={"forecast": 1_000, "lm": 700})
    for part in ("forecast", "lm"):
        voice_stages._train("module", [], plan, part, 10.0)
    budgets = [(one[one.index("--cpu-minutes") + 1], one[one.index("--steps") + 1]) for one in commands]
    assert budgets == [("2.0", "200"), ("10.0", "700")]


def test_a_stage_that_fails_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(voice_stages.StageFailedError, match=r"models\.train_lm ended with status"):
        voice_stages._train("models.train_lm", ["--codes", str(tmp_path / "none")], kokoro(tmp_path), "lm", 1.0)


def begun(plan: Plan, **change: Any) -> str:
    """The refusal when a plan comes to the folder of another one."""
    make_voice._refuse_other_data(plan)
    make_voice._refuse_other_data(plan)  # the same one goes on
    with pytest.raises(OtherDataError) as found:
        make_voice._refuse_other_data(replace(plan, **change))
    return str(found.value)


@pytest.mark.parametrize(
    ("smoke", "change", "message"),
    [
        (True, {"smoke": False}, "holds a smoke run, which trains nothing to the end; give another --work, or --fresh"),
        (True, {"smoke": False, "hours": {"af_heart": 3.0, "am_michael": 2.0}}, "holds a smoke run"),
        (False, {"smoke": True}, "holds a voice in full, not a smoke run; give another --work, or --fresh"),
        (False, {"hours": {"af_heart": 10.0}}, "was begun with --hours af_heart:3; give these, or give another --work"),
        (False, {"hours": {"am_michael": 3.0}}, "holds a voice from other speech"),
        (False, {"teacher": "flite"}, "holds a voice from other speech"),
    ],
)
def test_a_folder_is_of_one_voice(tmp_path: Path, smoke: bool, change: dict[str, Any], message: str) -> None:
    assert message in begun(replace(kokoro(tmp_path), smoke=smoke), **change)


def test_the_order_of_voices_is_theirs_for_good(tmp_path: Path) -> None:
    plan = replace(kokoro(tmp_path), teacher="flite", hours={"rms": 1.0, "slt": 2.0})
    assert "--hours rms:1,slt:2" in begun(plan, hours={"slt": 2.0, "rms": 1.0})


def test_too_many_left_out_is_refused_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def collect(_: Manifest, folder: Path, __: int) -> None:
        calls.append(folder)
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(json.dumps({}))
        raise TooManyLeftOutError("7 of 12")

    monkeypatch.setattr(collecting, "collect", collect)
    data = Manifest(path=tmp_path / "manifest.jsonl", recordings=(), warnings=(), sha256="0" * 64)
    for _ in range(2):
        with pytest.raises(TooManyLeftOutError):
            voice_stages.recordings(replace(kokoro(tmp_path), data=data))
    assert len(calls) == 2
