"""Runs steps, each in a process of its own with a time box; a crash, a hang or a missing package costs one table.

It begins a table, starts the step's process, and afterwards writes how it ended if the
process could not. A process past its box is killed with all it started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loadtests import leash
from tests.gpu_check.facts import ROOT, machine_facts
from tests.gpu_check.parts import Part, Step, find_step
from tests.gpu_check.report import Cell, Report, Table, short
from tests.gpu_check.setting import Setting, Skipped

FINISH_S = 8.0  # a step is asked to stop this long before it is killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    out: Path
    limit_s: float | None = None  # in place of every step's own box


def run_parts(command: Sequence[str], parts: Sequence[Part], options: Options, facts: dict[str, Cell]) -> bool:
    """`command` starts the process of a step. Returns whether every table is done or skipped with a reason."""
    states = []
    for part in parts:
        report = Report(options.out / part.file_name, part.title)
        for step in part.steps:
            limit_s = options.limit_s or step.limit_s
            print(f"{part.number} {step.name}: at most {limit_s:.0f} s", flush=True)
            report.begin(step.name, step.title, facts)
            state = _run_boxed(command, report.path, part, step, options, limit_s)
            print(f"{part.number} {step.name}: {state}", flush=True)
            states.append(state)
            report = Report(report.path, part.title)
    return all(state.startswith(("done", "skipped")) for state in states)


def _run_boxed(command: Sequence[str], path: Path, part: Part, step: Step, options: Options, limit_s: float) -> str:
    arguments = ["--step", step.name, "--out", str(options.out)]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = leash.start(
            [*command, *arguments, "--limit-s", str(limit_s)],
            stderr=errors,
            start_new_session=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # the host's share is what one thread costs
        )
        is_late = False
        try:
            process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            is_late = True
        finally:
            _kill_group(process)
        errors.seek(0)
        printed = errors.read()
    report = Report(path, part.title)
    table = report.tables[step.name]
    if table["state"] == "running":
        last = printed.strip().splitlines()[-1] if printed.strip() else "no message"
        if is_late:
            report.end(step.name, "killed", f"past its box of {limit_s:.0f} s; the rows are those it had")
        else:
            report.end(step.name, "failed", f"exit status {_status(process.returncode)}: {last[:300]}")
    if table["state"] in ("failed", "killed"):
        print(printed[-4000:], file=sys.stderr, flush=True)
    report.end(step.name, table["state"], table["reason"], time.monotonic() - started)
    return f"{table['state']} {table['reason']}".strip()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """The process and what it left behind, compilers for one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _status(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else str(code)


def run_step(name: str, options: Options) -> int:
    """The child's side."""
    part, step = find_step(name)
    limit_s = options.limit_s or step.limit_s
    deadline_s = time.monotonic() + max(limit_s - FINISH_S, 0.75 * limit_s)
    report = Report(options.out / part.file_name, part.title)
    if step.name not in report.tables:
        report.begin(step.name, step.title, machine_facts())
    try:
        step.load()(Setting(deadline_s), Table(report, step.name))
    except Skipped as reason:
        report.end(step.name, "skipped", str(reason))
    except ModuleNotFoundError as error:
        report.end(step.name, "skipped", f"{error.name} is not installed")
    except Exception as error:
        traceback.print_exc()
        report.end(step.name, "failed", f"{type(error).__name__}: {short(error)}")
        return 1
    else:
        report.end(step.name, "done")
    return 0
