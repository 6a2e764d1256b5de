"""`make gpu-check` on the pretended device: parts 0 to 3 hold there, the others run as a rehearsal, and a step that
crashes or hangs costs its own table alone."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnx")

from engines.families.common.device_form import DeviceForm
from engines.families.shipped import SHIPPED
from engines.runtime import tensorrt as runtime_tensorrt
from tests.dry_cuda import voice
from tests.dry_cuda.fake_device import FakeDevice
from tests.dry_cuda.mutations import MUTATIONS
from tests.gpu_check import buckets, peer, plans, runner
from tests.gpu_check.__main__ import main, table_folder, wanted_parts
from tests.gpu_check.parts import PARTS, Part, Step
from tests.gpu_check.report import Report, Table
from tests.gpu_check.runner import Options, run_parts
from tests.gpu_check.setting import Setting
from tests.gpu_check.shapes import TALKERS, TINY
from tests.gpu_check.traps import GUARDS, KNOWN, PROBES
from tests.plans.fake_tensorrt import FakeTensorRt

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(1500)  # each part is a process with a box of its own


def checked(out: Path, parts: str, **more: str) -> dict[str, Any]:
    """Each table of these parts by name."""
    environment = {name: value for name, value in os.environ.items() if name != "DRYCUDA_LOG"} | more
    command = [sys.executable, "-m", "tests.gpu_check", "--parts", parts, "--out", str(out), "--limit-s", "600"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    tables: dict[str, Any] = {}
    for path in sorted(out.glob("*.json")):
        tables |= json.loads(path.read_text())["tables"]
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return tables


@pytest.mark.parametrize("bundle", SHIPPED)
def test_the_first_parts_hold_on_the_pretended_device(pretended: None, tmp_path: Path, bundle: str) -> None:
    tables = checked(tmp_path, "0-3", PARLANDO_BUNDLE=bundle)
    assert {name: table["state"] for name, table in tables.items()} == dict.fromkeys(
        ["doctor", "self-test", "kernels", "traps"], "done"
    )
    found = {row["what"]: row["found"] for row in tables["doctor"]["rows"]}
    assert found["device"].startswith("cuda:0")
    assert tables["self-test"]["rows"][-1]["result"] == "passed"
    assert all(row["equal"] for name in ("kernels", "traps") for row in tables[name]["rows"])
    assert all(row["library_kernels"] == row["library_calls"] for row in tables["kernels"]["rows"])


def test_the_other_parts_run_as_a_rehearsal(pretended: None, tmp_path: Path) -> None:
    tables = checked(tmp_path, "4,5,7-9", GPU_CHECK_REHEARSAL="1")
    assert {tables[name]["state"] for name in ("buckets", "engine", "qwen")} == {"done"}
    assert not [row for name in ("buckets", "engine", "qwen") for row in tables[name]["rows"] if "problem" in row]
    assert {tables[name]["reason"] for name in ("torch", "peer")} <= {"", "torch is not installed"}


def test_the_servers_part_runs_as_a_rehearsal(pretended: None, tmp_path: Path) -> None:
    """Its load test over WebSocket, against an engine that the CPU emulates."""
    (row,) = checked(tmp_path, "6", GPU_CHECK_REHEARSAL="1")["server"]["rows"]
    assert row["failed"] == 0 < row["streams"], row


def test_the_peers_part_runs_as_a_rehearsal(pretended: None, tmp_path: Path) -> None:
    """With modules that take the names of torch and transformers: their own process, box, rows and table."""
    modules = os.pathsep.join([str(Path(__file__).with_name("pretended_peer")), str(ROOT)])
    table = checked(tmp_path, "9", GPU_CHECK_REHEARSAL="1", PYTHONPATH=modules)["peer"]
    assert (table["state"], table["reason"]) == ("done", "")
    rows = {(row["model"], row["batch"]): row for row in table["rows"]}
    assert set(rows) == {(shape.name, batch) for shape in TALKERS for batch in peer.BATCHES}
    for (_, batch), row in rows.items():
        if batch == 128:
            assert row["note"] == "refused: RuntimeError: no memory for so many"
        else:
            assert (row["new_tokens"], row["gap_median_ms"]) == (batch * peer.NEW_TOKENS, 1.0)


def test_the_plans_part_runs_as_a_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a device and a TensorRT in plain Python."""
    device = FakeDevice()
    copied = Path(shutil.copytree(voice.form().folder, tmp_path / "form"))
    for module in (plans, runtime_tensorrt):
        monkeypatch.setattr(module, "tensorrt", lambda: FakeTensorRt(device))
    monkeypatch.setattr(plans, "form", lambda: DeviceForm.load(copied, voice.BUNDLE))
    monkeypatch.setattr(Setting, "timed_device", lambda _: device)
    monkeypatch.setattr(plans, "MOST_ROWS", 2)
    for name in ("ALONE", "IN_A_ROW"):
        monkeypatch.setattr(buckets, name, 2)
    step = next(step for part in PARTS for step in part.steps if step.name == "tensorrt")
    report = Report(tmp_path / "tensorrt.json", "plans")
    report.begin("tensorrt", "plans", {})
    step.load()(Setting(math.inf), Table(report, "tensorrt"))
    table = Report(tmp_path / "tensorrt.json", "plans").tables["tensorrt"]
    assert [(row["graph"], row["rows"]) for row in table["rows"]] == [("decode", 1), ("decode", 2)]
    assert table["notes"][1] == "goldens: passed"


def test_torchs_frames_run_as_a_rehearsal(tmp_path: Path) -> None:
    """On the CPU, where torch is at hand."""
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "tests.gpu_check", "--step", "torch", "--out", str(tmp_path)]
    environment = os.environ | {"GPU_CHECK_REHEARSAL": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    (table,) = json.loads(next(tmp_path.glob("*.json")).read_text())["tables"].values()
    assert (table["state"], done.returncode) == ("done", 0), done.stderr[-2000:]
    assert [row["codes"] for row in table["rows"]] == [16, 16]


def test_a_peer_whose_threads_die_measures_nothing(tmp_path: Path) -> None:
    """Its faults go to its log, and what it returns is empty."""
    torch = pytest.importorskip("torch")
    report = Report(tmp_path / "peer.json", "peer")
    report.begin("peer", "peer", {})
    model = SimpleNamespace(generate_batch=lambda **_: {})
    transformers = SimpleNamespace(GenerationConfig=lambda **_: None)
    peer._measure(Setting(math.inf), Table(report, "peer"), torch, transformers, model, TINY, 2)
    (row,) = Report(tmp_path / "peer.json", "peer").tables["peer"]["rows"]
    assert row["note"] == f"refused: 0 of {2 * peer.NEW_TOKENS} tokens came"


def test_a_pretended_device_has_no_times(pretended: None, tmp_path: Path) -> None:
    tables = checked(tmp_path, "4-6")
    assert {(one["state"], one["reason"]) for one in tables.values()} == {
        ("skipped", "the device is pretended: it has no times")
    }


def test_each_trap_has_an_observation_and_a_guard() -> None:
    names = [probe.__name__ for probe in PROBES]
    assert list(json.loads(KNOWN.read_text())) == names == list(GUARDS)
    assert set(GUARDS.values()) <= {one.trap for one in MUTATIONS}


def test_parts_are_numbers_and_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert wanted_parts("0-2,5") == {0, 1, 2, 5}
    assert wanted_parts("all") == {part.number for part in PARTS} == set(range(11))
    for refused in ("11", "two", "3-1", ""):
        with pytest.raises(SystemExit, match="--parts takes numbers from 0 to 10"):
            wanted_parts(refused)
    assert table_folder("NVIDIA H200") == "nvidia-h200"


# -- the runner, over steps that end badly


def crashes(setting: object, table: Any) -> None:
    table.row(made=1)
    os.abort()


def hangs(setting: object, table: Any) -> None:
    table.row(made=1)
    time.sleep(3600)


def raises(setting: object, table: Any) -> None:
    raise ValueError("seven")


def misses(setting: object, table: Any) -> None:
    import a_package_that_is_not_there  # noqa: F401


def _part(name: str) -> Part:
    step = Step(name=name, title=name, limit_s=60, module="", function=name)
    return Part(number=0, name=name, title=name, steps=(step,))


def step_process() -> None:
    """What a child of the tests below runs."""
    name, out = sys.argv[sys.argv.index("--step") + 1], Path(sys.argv[sys.argv.index("--out") + 1])
    part = _part(name)
    runner.find_step = lambda _: (part, part.steps[0])  # type: ignore[assignment]
    Step.load = lambda _: globals()[name]  # type: ignore[method-assign]
    sys.exit(runner.run_step(name, Options(out=out)))


@pytest.mark.parametrize(
    ("name", "limit_s", "state", "reason", "rows"),
    [
        ("crashes", 60, "failed", "exit status SIGABRT", 1),
        ("hangs", 8, "killed", "past its box of 8 s", 1),
        ("raises", 60, "failed", "ValueError: seven", 0),
        ("misses", 60, "skipped", "a_package_that_is_not_there is not installed", 0),
    ],
)
def test_a_step_that_ends_badly_costs_its_own_table(
    tmp_path: Path, name: str, limit_s: float, state: str, reason: str, rows: int
) -> None:
    command = [sys.executable, "-c", "from tests.dry_cuda.test_gpu_check import step_process; step_process()"]
    part = _part(name)
    whole = run_parts(command, [part], Options(out=tmp_path, limit_s=limit_s), {"GPU": "none"})
    table = Report(tmp_path / part.file_name, name).tables[name]
    assert (table["state"], len(table["rows"]), whole) == (state, rows, state == "skipped")
    assert reason in table["reason"]


def test_without_a_device_every_part_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has the CPU package alone."""
    if "DRY_CUDA" in os.environ:
        pytest.skip("a device is pretended here")
    assert main(["--parts", "1,4", "--out", str(tmp_path)]) == 0
    for name in ("1-self-test.json", "4-buckets.json"):
        (table,) = json.loads((tmp_path / name).read_text())["tables"].values()
        assert table["state"] == "skipped"
        assert "no CUDA provider" in table["reason"] or "no CUDA device" in table["reason"]
