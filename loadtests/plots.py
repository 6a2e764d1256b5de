"""Pictures of a report: TTFA against load, underruns against load, lead over time, memory over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.level import LevelResult
from loadtests.summary import Verdict
from loadtests.texts import Feeding

if TYPE_CHECKING:
    from loadtests.report import Report

_SIZE_INCHES = (7.0, 4.0)
_DPI = 110


def draw(report: Report, folder: Path, name: str) -> list[Path]:
    """Every picture that the report has figures for."""
    drawn = []
    levels = sorted((one for one in report.all_levels if one.verdict is not Verdict.VOID), key=lambda one: one.level)
    if len(levels) > 1:
        drawn.append(_save(_ttfa(levels), folder / f"{name}-ttfa.png"))
        drawn.append(_save(_underruns(levels), folder / f"{name}-underruns.png"))
    lead = _lead(report)
    if lead is not None:
        drawn.append(_save(lead, folder / f"{name}-lead.png"))
    for long in (report.soak, report.cancels):
        if long is not None and long.rss_slope_bytes_per_hour is not None:
            drawn.append(_save(_memory(long.rss), folder / f"{name}-memory.png"))
            break
    return drawn


def _new(x_label: str, y_label: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=_DPI)
    return path


def _ttfa(levels: list[LevelResult]) -> Figure:
    figure, axes = _new("listeners (N)", "ms", "Audible TTFA, texts sent whole")
    for share in ("p50", "p95", "p99"):
        points = [
            (level.level, getattr(level.latencies_by_feeding_ms[Feeding.WHOLE]["audible_ttfa"], share))
            for level in levels
            if "audible_ttfa" in level.latencies_by_feeding_ms.get(Feeding.WHOLE, {})
        ]
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=share)
    axes.set_yscale("log")
    axes.legend()
    return figure


def _underruns(levels: list[LevelResult]) -> Figure:
    figure, axes = _new("listeners (N)", "streams that ran dry, %", "Underruns")
    for place, played in enumerate(levels[0].underruns):
        shares = [100 * one.underruns[place].streams / max(1, one.counts.offered) for one in levels]
        axes.plot([one.level for one in levels], shares, marker="o", label=f"jitter buffer {played.jitter_ms} ms")
    axes.legend()
    return figure


def _lead(report: Report) -> Figure | None:
    """Of the highest level that passed, else of the last."""
    levels = report.all_levels or ([report.soak.level] if report.soak else [])
    if not levels:
        return None
    passed = [one for one in levels if one.verdict is Verdict.PASSED]
    shown = max(passed, key=lambda one: one.level) if passed else levels[-1]
    figure, axes = _new("seconds since the first samples", "seconds ahead of the listener", f"Lead, {shown.name}")
    for points in report.session.leads.get(shown.name, []):
        # Between arrivals the listener plays: the lead falls with time.
        axes.plot([x for x, _ in points], [y for _, y in points], linewidth=0.8, alpha=0.7)
    axes.axhline(0, color="black", linewidth=0.8)
    return figure


def _memory(rss: tuple[tuple[float, int], ...]) -> Figure:
    figure, axes = _new("minutes", "MiB resident, all processes", "Memory of the server")
    axes.plot([at_s / 60 for at_s, _ in rss], [size / 2**20 for _, size in rss])
    return figure
