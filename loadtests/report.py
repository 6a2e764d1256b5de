"""Writes what was measured: a JSON file with everything, a page, plots; with machine, commit and command."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtests.attacks.scenario import Attacks
from loadtests.level import LevelResult
from loadtests.openings import Openings
from loadtests.scenarios import Cancels, Ladder, Overload, Soak
from loadtests.session import Session
from loadtests.texts import FEEDING_SHARES, KIND_SHARES, STOCK, mean_audio_s


@dataclass(slots=True)
class Report:
    session: Session
    command: str
    machine: dict[str, Any]
    solo: LevelResult | None = None
    levels: list[LevelResult] = field(default_factory=list)
    ladder: Ladder | None = None
    overload: Overload | None = None
    cancels: Cancels | None = None
    soak: Soak | None = None
    attacks: Attacks | None = None
    openings: Openings | None = None
    done_s: float = 0.0

    @property
    def all_levels(self) -> list[LevelResult]:
        return [*self.levels, *(self.ladder.levels if self.ladder else ())]

    @property
    def against(self) -> list[str]:
        """Why the run as a whole did not succeed; a level of a ladder that fails is no reason, it is a finding."""
        parts = (self.ladder, self.overload, self.cancels, self.soak, self.attacks, self.openings)
        whole = [one for one in parts if one is not None]
        alone = [one for one in (self.solo, *self.levels) if one is not None]
        return [
            *(f"{one.name}: {reason}" for one in alone for reason in one.against),
            *(f"{type(one).__name__.lower()}: {reason}" for one in whole for reason in one.against),
        ]

    def write(self, folder: Path, name: str) -> list[Path]:
        """The JSON file, the page, and what plots there are; returns their paths."""
        from loadtests import plots, tables  # matplotlib takes a second to load and is wanted only here

        folder.mkdir(parents=True, exist_ok=True)
        figures, page = folder / f"{name}.json", folder / f"{name}.md"
        figures.write_text(json.dumps(self.as_json(), indent=1) + "\n")
        drawn = plots.draw(self, folder, name)
        page.write_text(tables.page(self, drawn))
        return [figures, page, *drawn]

    def as_json(self) -> dict[str, Any]:
        session = self.session
        mix = {
            "kinds": KIND_SHARES,
            "feedings": FEEDING_SHARES,
            "texts": len(STOCK),
            "mean_audio_s": round(mean_audio_s(session.audio_s), 3),
            "audio_s_by_kind": {
                kind: sorted(round(session.audio_s[one.text], 2) for one in STOCK if one.kind is kind)
                for kind in KIND_SHARES
            },
        }
        found: dict[str, Any] = {"machine": self.machine, "command": self.command, "seed": session.seed, "mix": mix}
        found["wall_s"] = round(self.done_s, 1)
        for name in ("solo", "ladder", "overload", "cancels", "soak", "attacks", "openings"):
            one = getattr(self, name)
            if one is not None:
                found[name] = asdict(one) | {"against": list(one.against)}
        if self.overload is not None:
            found["overload"]["knee"] = self.overload.knee
            found["overload"]["ttfa_p99_over_knee"] = self.overload.ttfa_p99_over_knee
            found["overload"]["ttfa_p99_over_knee_by_round"] = [
                round_.ttfa_p99_over_knee for round_ in self.overload.rounds
            ]
        if self.levels:
            found["levels"] = [asdict(one) for one in self.levels]
        return found | {"hdr_histograms_us": session.histograms}


def machine() -> dict[str, Any]:
    """Where it ran. The load average before the run tells whether the machine was quiet."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def command() -> str:
    return " ".join(["python -m loadtests", *sys.argv[1:]])


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (
        " (changed)" if git("status", "--porcelain", "-uno") else ""
    )
