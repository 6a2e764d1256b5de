"""All gates of a natural bundle in one table: python -m models.judge.natural_gate --bundle DIR

What we ask of the bundle, a row each. A part can be measured alone (`--only heard,times,mixed,speed,
drafts,size`); with `--out` figures are kept, and a later call with the same file and bundle measures what is missing.
`--into` writes them into the bundle's manifest, whose digest changes with it.
Ends with an error when a row fails or is not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.text import FrontEnd
from models.bench import beside, drafts
from models.export import update_manifest
from models.judge import carried_times, natural, natural_mixed
from models.judge.meters import Meters
from models.packages import cache_folder
from models.teachers.kokoro.speaker import Speaker
from models.whole_files import replace_file

Figures = dict[str, Any]
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What one figure must be, and where in the figures it stands."""

    what: str
    path: tuple[str, ...]
    least: float = float("-inf")
    most: float = float("inf")
    unit: str = ""

    def value(self, figures: Figures) -> float | None:
        """None where it has not been measured."""
        found: Any = figures
        for name in self.path:
            if not isinstance(found, dict) or name not in found:
                return None
            found = found[name]
        return float(found)

    def passes(self, figures: Figures) -> bool:
        value = self.value(figures)
        return value is not None and self.least <= value <= self.most  # NaN fails

    @property
    def bar(self) -> str:
        if self.least == self.most:
            return f"{self.least:g}{self.unit}"
        if self.least > float("-inf") and self.most < float("inf"):
            return f"{self.least:g} to {self.most:g}{self.unit}"
        kind, bound = ("at least", self.least) if self.most == float("inf") else ("at most", self.most)
        return f"{kind} {bound:g}{self.unit}"


P808 = {"af_heart": 3.85}
P808_OF_OTHERS = 3.8


def bars(voices: list[str]) -> list[Bar]:
    found = []
    for voice in voices:
        heard = ("heard", voice)
        found += [
            Bar(what=f"{voice}: word errors above the teacher's", path=(*heard, "wer_above"), most=1.5, unit=" points"),
            Bar(what=f"{voice}: P.808", path=(*heard, "p808"), least=P808.get(voice, P808_OF_OTHERS)),
            Bar(what=f"{voice}: OVRL", path=(*heard, "ovrl"), least=3.2),
            Bar(what=f"{voice}: likeness, of the teacher's to itself", path=(*heard, "likeness"), least=0.8),
            Bar(what=f"{voice}: F0 spread, of the teacher's", path=(*heard, "f0_spread_ratio"), least=0.8, most=1.2),
            Bar(what=f"{voice}: word times, median error in ms", path=("times", voice, "both_median_ms"), most=20),
            Bar(what=f"{voice}: 500 texts, shortest, of the teacher's", path=("mixed", voice, "ratio_min"), least=0.85),
            Bar(what=f"{voice}: 500 texts, longest", path=("mixed", voice, "ratio_max"), most=1.2),
            Bar(what=f"{voice}: 500 texts that run away or skip", path=("mixed", voice, "problems"), least=0, most=0),
        ]
    return [
        *found,
        Bar(what="drafts: tokens a call", path=("drafts", "frames_per_row"), least=1.8),
        Bar(what="drafts: exact", path=("drafts", "same_bytes"), least=1, most=1),
        Bar(what="size", path=("size", "megabytes"), most=30, unit=" MB"),
        Bar(what="streams, of the other bundle's", path=("speed", "streams_ratio"), least=0.6),
        Bar(what="idle TTFA, of the other bundle's", path=("speed", "ttfa_ratio"), most=1.3),
    ]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Measures; each part is a method that returns its figures."""

    path: Path
    against: Path
    voices: list[str]
    lists: Path
    packages: Path

    @cached_property
    def bundle(self) -> Bundle:
        return load_bundle(self.path)

    @cached_property
    def front_end(self) -> FrontEnd:
        return FrontEnd.load()

    def _engine(self) -> Engine:
        return load_engine(self.bundle, EngineConfig(workers=False))

    def heard(self) -> Figures:
        meters, found = Meters.load(), {}
        for voice in self.voices:
            row = natural.of_bundle(meters, self.path, voice, self.lists, self.packages)
            found[voice] = row["ours"] | {"wer_above": 100 * (row["ours"]["wer"] - row["teacher"]["wer"])}
        return found

    def times(self) -> Figures:
        engine, found = self._engine(), {}
        for voice in self.voices:
            spoken = natural.teacher_speech(self.lists, voice, self.packages)
            theirs = carried_times.of_teacher(self.front_end, spoken)
            ours = carried_times.of_engine(engine, voice, [one.text for one in theirs])
            found[voice] = carried_times.compare(ours, theirs)
        engine.close()
        return found

    def mixed(self) -> Figures:
        engine, found = self._engine(), {}
        speaker, chosen = Speaker(self.packages), natural_mixed.texts()
        for index, voice in enumerate(self.voices):
            made = natural_mixed.of_engine(engine, self.front_end, speaker, voice, index, chosen)
            found[voice] = natural_mixed.figures(*made)
            natural_mixed.show(found[voice], *made[:2])
        engine.close()
        return found

    def speed(self) -> Figures:
        return dict(beside.measure(self.bundle, load_bundle(self.against)))

    def drafts(self) -> Figures:
        row = drafts.measure(self.bundle, streams=1, rounds=3)
        return row["on"] | {"same_bytes": float(row["same_bytes"])}

    def size(self) -> Figures:
        return {"megabytes": sum(one.stat().st_size for one in self.path.iterdir()) / MEGABYTE}


PARTS = ("size", "speed", "drafts", "times", "mixed", "heard")


def measure(gate: Gate, parts: list[str], figures: Figures, keep: Callable[[Figures], None]) -> Figures:
    """What `figures` has already is not measured again."""
    for part in parts:
        if part not in figures:
            figures = figures | {part: getattr(gate, part)()}
            keep(figures)
    return figures


def rounded(figures: Figures) -> Figures:
    return {
        name: rounded(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for name, value in figures.items()
    }


def kept(path: Path, digest: str) -> Figures:
    """The figures in a file, of the bundle with this digest; those of another one are not ours."""
    found: Figures = json.loads(path.read_text()) if path.exists() else {}
    return found if found.get("bundle") == digest else {"bundle": digest}


def table(figures: Figures, wanted: list[Bar]) -> Table:
    found = Table("gate", "bar", "measured", "")
    for bar in wanted:
        value = bar.value(figures)
        shown = "not measured" if value is None else f"{value:.2f}{bar.unit}"
        found.add_row(bar.what, bar.bar, shown, "passes" if bar.passes(figures) else "FAILS" if shown[0] != "n" else "")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--against", type=Path, default=Path("flite"), help="whose speed is the measure")
    parser.add_argument("--voices", default="af_heart,am_michael", help="in the order of the bundle's")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure, of " + ",".join(PARTS))
    parser.add_argument("--lists", type=Path, default=cache_folder() / "voice-kokoro" / "lists")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures, which a later call goes on from")
    parser.add_argument("--into", action="store_true", help="the bundle's manifest shall carry the figures")
    arguments = parser.parse_args()
    parts, voices = arguments.only.split(","), arguments.voices.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"--only {unknown[0]}: the parts are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    gate = Gate(
        path=arguments.bundle,
        against=arguments.against,
        voices=voices,
        lists=arguments.lists,
        packages=arguments.packages,
    )
    out: Path | None = arguments.out

    def keep(figures: Figures) -> None:
        if out is not None:
            replace_file(out, (json.dumps(figures, indent=1) + "\n").encode())

    figures = measure(gate, parts, kept(out, gate.bundle.digest) if out is not None else {}, keep)
    if arguments.into:
        update_manifest(arguments.bundle, quality=rounded({name: figures[name] for name in PARTS if name in figures}))
    wanted = bars(voices)
    Console(width=120).print(table(figures, wanted))
    if not all(bar.passes(figures) for bar in wanted):
        sys.exit(1)


if __name__ == "__main__":
    main()
