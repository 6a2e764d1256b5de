"""Part (c): CMU Flite's rms voice behind the same WebSocket protocol, against our server with the same timbre.

Both servers are pinned to one core and the listeners to another, where there are two. Measured in turns: time to first
audio with the whole text at once and with a word every 50 ms, CPU seconds per audio second of all the server's
processes, and how many listeners are served without running dry. Word errors are a recogniser's, on what was heard.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests import leash
from loadtests.peers import record
from loadtests.peers.listener import Heard, crowd, listen
from loadtests.peers.record import Places

LISTS = Path("models/judge/lists")
SOURCE = Path(__file__).with_name("flite_lines.c")
_LIBRARIES = ["-lflite_cmu_us_rms", "-lflite_usenglish", "-lflite_cmulex", "-lflite", "-lm"]
_TICKS = os.sysconf("SC_CLK_TCK")
LADDER = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128)
TTFA_GATE_S = 0.25
_READY_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    name: str
    url: str
    pid: int

    def cpu_s(self) -> float:
        """Of the process and all below it."""
        parents = {int(path.name): _stat(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
        total, todo = 0.0, [self.pid]
        while todo:
            pid = todo.pop()
            total += parents[pid][1] / _TICKS if pid in parents else 0.0
            todo += [child for child, (parent, _) in parents.items() if parent == pid]
        return total


def _stat(folder: Path) -> tuple[int, int]:
    """Parent and CPU ticks; zeros if the process has just gone."""
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[11]) + int(fields[12])


def build(folder: Path) -> Path:
    program = folder / "flite_lines"
    subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE), *_LIBRARIES], check=True)
    return program


@contextmanager
def running(name: str, command: list[str], port: int, core: int | None) -> Iterator[Server]:
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    process = leash.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_ready(f"http://127.0.0.1:{port}/ready", process)
        yield Server(name=name, url=f"ws://127.0.0.1:{port}", pid=process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _await_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    gives_up_s = time.monotonic() + _READY_S
    while time.monotonic() < gives_up_s:
        if process.poll() is not None:
            raise RuntimeError(f"the server of {url} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{url} was not ready after {_READY_S} s")


def one_by_one(server: Server, texts: list[str], word_s: float | None) -> tuple[list[Heard], dict[str, float]]:
    before_s = server.cpu_s()
    heard = [asyncio.run(listen(server.url, text, word_s)) for text in texts]
    if any(one.refused for one in heard):
        raise RuntimeError(f"{server.name} refused a single stream")
    ttfas = [1000 * one.ttfa_s for one in heard]
    audio_s = sum(one.audio_s for one in heard)
    figures = {
        "ttfa_ms_p50": round(statistics.median(ttfas), 1),
        "ttfa_ms_p95": round(record.percentile(ttfas, 0.95), 1),
        "rtf_p50": round(statistics.median(one.wall_s / one.audio_s for one in heard), 4),
        "audio_s": round(audio_s, 1),
        "cpu_s_per_audio_s": round((server.cpu_s() - before_s) / audio_s, 5),
    }
    return heard, figures


def climb(server: Server, texts: list[str], seconds: float) -> dict[str, Any]:
    """Adds listeners until, twice: 1 % of utterances run dry, one is refused, or p95 of first audio is too late."""
    rungs: list[dict[str, Any]] = []
    held, failures = 0, 0
    steps = iter(LADDER)
    listeners = next(steps)
    while failures < 2:
        rungs.append(_rung(server, texts, listeners, seconds))
        if not rungs[-1]["good"]:
            failures += 1
            continue
        held, failures = listeners, 0
        following = next(steps, None)
        if following is None:
            break
        listeners = following
    cost = min(rung["cpu_s_per_audio_s"] for rung in rungs)
    return {"held": held, "ladder_went_on_to": LADDER[-1], "by_cpu_cost_at_most": round(1 / cost, 1), "rungs": rungs}


def _rung(server: Server, texts: list[str], listeners: int, seconds: float) -> dict[str, Any]:
    before_s = server.cpu_s()
    asked = asyncio.run(crowd(server.url, texts, listeners, seconds))
    heard = [one for one in asked if not one.refused]
    all_served = len(asked) == len(heard)
    if not heard:
        raise RuntimeError(f"{server.name} refused everyone of {listeners} listeners")
    dry = sum(one.underruns > 0 for one in heard)
    p95_s = record.percentile([one.ttfa_s for one in heard], 0.95)
    return {
        "listeners": listeners,
        "utterances": len(heard),
        "refused": len(asked) - len(heard),
        "ran_dry": dry,
        "ttfa_ms_p95": round(1000 * p95_s, 1),
        "cpu_s_per_audio_s": round((server.cpu_s() - before_s) / sum(one.audio_s for one in heard), 5),
        "good": all_served and dry <= 0.01 * len(heard) and p95_s <= TTFA_GATE_S,
    }


def word_errors(places: Places, heard: dict[str, list[Heard]], texts: list[str]) -> dict[str, float] | str:
    with tempfile.TemporaryDirectory() as name:
        folder, spoken = Path(name), []
        for group, utterances in heard.items():
            for index, (one, text) in enumerate(zip(utterances, texts, strict=True)):
                file = f"{group}-{index}.pcm"
                (folder / file).write_bytes(one.pcm)
                spoken.append({"group": group, "text": text, "file": file})
        (folder / "spoken.json").write_text(json.dumps(spoken))
        command = [places.training, "-m", "models.bench.hear", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return "not measured: " + (done.stderr.strip().splitlines() or ["the recogniser failed"])[-1]
    rates: dict[str, float] = json.loads(done.stdout)
    return rates


def run(places: Places) -> dict[str, Any]:
    if not Path("/usr/include/flite/flite.h").exists() or not shutil.which("cc"):
        return {"skipped": "no flite.h or no C compiler here; Debian's flite1-dev brings the former"}
    names = ("everyday",) if places.quick else ("everyday", "harvard")
    texts = [text for name in names for text in (LISTS / f"{name}.txt").read_text().splitlines()]
    own, theirs = (0, 1) if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else (None, None)
    before = os.sched_getaffinity(0)
    figures: dict[str, Any] = {"texts": list(names), "sentences": len(texts), "servers_on_one_core": theirs is not None}
    with tempfile.TemporaryDirectory() as folder:
        edge = [places.peers, "-m", "loadtests.peers.flite_edge", str(build(Path(folder)))]
        commands = {
            "ours": [places.serving, "-m", "server", "serve", "--bundle", "flite", "--port", str(places.port)],
            "flite": [*edge, "--port", str(places.port + 1)],
        }
        with (
            running("ours", commands["ours"], places.port, theirs) as ours,
            running("flite", commands["flite"], places.port + 1, theirs) as flite,
        ):
            try:
                if own is not None:
                    os.sched_setaffinity(0, {own})
                figures |= measure(places, [ours, flite], texts)
            finally:
                os.sched_setaffinity(0, before)
    figures["versions"] = record.versions(places.serving, ["onnxruntime", "uvicorn", "fastapi"])
    figures["versions"] |= record.versions(places.peers, ["websockets"]) | {"flite": flite_version()}
    return figures


def flite_version() -> str:
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "flite1-dev"], capture_output=True, text=True)
    return done.stdout or "unknown"


def measure(places: Places, servers: list[Server], texts: list[str]) -> dict[str, Any]:
    figures: dict[str, Any] = {server.name: {} for server in servers}
    for server in servers:
        one_by_one(server, texts[:3], None)  # warm
    heard = {}
    for server in servers:
        heard[server.name], figures[server.name]["whole_text"] = one_by_one(server, texts, None)
    for server in servers:
        fed = texts[:4] if places.quick else texts[:12]
        figures[server.name]["word_each_50_ms"] = one_by_one(server, fed, 0.05)[1]
    for server in servers:
        figures[server.name]["streams"] = climb(server, texts, 4 if places.quick else 10)
    rates = word_errors(places, heard, texts)
    for server in servers:
        figures[server.name]["wer"] = rates if isinstance(rates, str) else rates[server.name]
    return figures
