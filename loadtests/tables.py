"""The page of a report: tables in Markdown, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadtests.attacks.scenario import Attacks
from loadtests.level import LevelResult
from loadtests.openings import Openings
from loadtests.scenarios import Cancels, Ladder, Overload, Soak
from loadtests.summary import Percentiles
from loadtests.texts import Feeding

if TYPE_CHECKING:
    from loadtests.report import Report

_COLUMNS = (
    "N",
    "streams/s",
    "listeners mean, peak",
    "audible TTFA, whole",
    "audible TTFA, 10 ms a word",
    "RTF p95",
    "underruns at 0, 100 ms",
    "complete",
    "refused",
    "CPU s per audio s",
    "other load, cores",
    "own lag p99",
    "",
)


def page(report: Report, plots: Sequence[Path]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    lines = ["# Load test", "", f"`{report.command}`", "", f"{machine}.", ""]
    lines += [f"{_generator_line(report)} Latencies are in ms, p50 / p95 / p99; docs/load-tests.md says what they are."]
    if report.solo is not None:
        lines += ["", "## One stream", "", *_latency_table(report.solo)]
    if report.all_levels:
        levels = sorted(report.all_levels, key=lambda one: (one.level, one.seed))
        lines += ["", "## Levels", "", *_knee_line(report.ladder), *_level_table(levels)]
    if report.overload is not None:
        lines += ["", "## Overload", "", *_overload(report.overload)]
    if report.cancels is not None:
        lines += ["", "## Cancels", "", _cancel_line(report.cancels)]
    if report.soak is not None:
        lines += ["", "## Soak", "", *_level_table([report.soak.level]), "", _soak_line(report.soak)]
    if report.attacks is not None:
        lines += ["", "## Attacks", "", *_attack_table(report.attacks)]
    if report.openings is not None:
        lines += ["", "## Openings", "", *_opening_table(report.openings)]
    lines += [line for plot in plots for line in ("", f"![{plot.stem}]({plot.name})")]
    return "\n".join(lines) + "\n"


def _generator_line(report: Report) -> str:
    ran = [one for one in (report.solo, *report.all_levels) if one is not None]
    ran += report.overload.levels if report.overload is not None else []
    ran += [one.level for one in (report.cancels, report.soak) if one is not None]
    if report.openings is not None:
        ran += [report.openings.http, report.openings.words]
    if report.attacks is not None:
        ran += [report.attacks.alone, *(one.level for one in report.attacks.beside)]
    if not ran:
        return ""
    own = max((one.generator for one in ran), key=lambda one: one.cores)
    worst_ms = max(one.generator.tick_lag_ms.p99 for one in ran)
    return (
        f"Load generator: {own.loop}, {own.priority}, at most {own.cores:.2f} cores, own lag p99 at most "
        f"{worst_ms:.2f} ms."
    )


def _knee_line(ladder: Ladder | None) -> list[str]:
    if ladder is None:
        return []
    found = ladder.knee
    fails = f"{found.fails} fails" if found.fails is not None else "no level failed"
    passes = f"{found.passes} listeners pass" if found.passes is not None else "no level passes"
    return [f"**Knee: {passes}, {fails}.**" + (f" {ladder.unknown}." if ladder.unknown else ""), ""]


def _three(one: Percentiles | None) -> str:
    return "-" if one is None else f"{one.p50:.1f} / {one.p95:.1f} / {one.p99:.1f}"


def _latency_table(level: LevelResult) -> list[str]:
    ways = [feeding for feeding in Feeding if level.latencies_by_feeding_ms.get(feeding)]
    rows = ["| | " + " | ".join(ways) + " |", "|---|" + "---|" * len(ways)]
    for name in level.latencies_ms:
        cells = [_three(level.latencies_by_feeding_ms[feeding].get(name)) for feeding in ways]
        rows.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    rtf = level.rtf
    rows += ["", f"RTF {rtf.p50:.3f} / {rtf.p95:.3f} / {rtf.p99:.3f}, " if rtf is not None else ""]
    rows[-1] += f"{level.counts.offered} streams, {level.verdict}{_because(level)}."
    return rows


def _because(level: LevelResult) -> str:
    return f" ({'; '.join(level.against)})" if level.against else ""


def _level_table(levels: list[LevelResult]) -> list[str]:
    rows = [
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "---:|" * (len(_COLUMNS) - 1) + "---|",
    ]
    for level in levels:
        whole, words = (_ttfa(level, feeding) for feeding in (Feeding.WHOLE, Feeding.WORDS_10_MS))
        dry = ", ".join(f"{one.count} ({one.stalled_ms:g} ms)" if one.count else "0" for one in level.underruns)
        cpu = level.server_cpu_s_per_audio_s
        cells = [
            f"{level.level:g}",
            f"{level.rate_hz:.2f}",
            f"{level.concurrency.mean:.1f}, {level.concurrency.peak}",
            _three(whole),
            _three(words),
            f"{level.rtf.p95:.3f}" if level.rtf is not None else "-",
            dry,
            f"{level.counts.complete}/{level.counts.offered}",
            str(level.counts.refused),
            f"{cpu:.4f}" if cpu is not None else "-",
            f"{level.other_cores:.2f}" if level.other_cores is not None else "-",
            f"{level.generator.tick_lag_ms.p99:.2f}",
            level.verdict,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _ttfa(level: LevelResult, feeding: Feeding) -> Percentiles | None:
    found: Mapping[str, Percentiles] = level.latencies_by_feeding_ms.get(feeding, {})
    return found.get("audible_ttfa")


def _overload(found: Overload) -> list[str]:
    refused = [round_.level.refused_after_ms for round_ in found.rounds if round_.level.refused_after_ms]
    count = sum(round_.level.counts.refused for round_ in found.rounds)
    refusals = f"{count} refused, answered after {'; '.join(map(_three, refused))} ms" if refused else "none refused"
    each = ", ".join(f"{round_.ttfa_p99_over_knee} ({round_.at_knee.level:g})" for round_ in found.rounds)
    knee = "not known" if found.knee is None else f"{found.knee:g} listeners"
    return [
        *_level_table(found.levels),
        "",
        f"**Knee in these rounds: {knee}.** Round by round, p99 audible TTFA is {each} times its value at the knee (in "
        f"brackets) before it; median of those whose knee passed: {found.ttfa_p99_over_knee}. "
        f"{refusals[0].upper() + refusals[1:]}. {_kept(found.against)}",
    ]


def _cancel_line(found: Cancels) -> str:
    slope = found.rss_slope_bytes_per_cancel
    return (
        f"{found.cancelled} cancelled, {found.too_late} were done before, {found.level.counts.failed} failed. "
        f"Cancel to last byte {_three(found.cancel_to_last_byte_ms)} ms, to the answer "
        f"{_three(found.cancel_to_answer_ms)} ms; binary messages that came after it was sent "
        f"{_three(found.messages_after_cancel)}. Memory slope "
        f"{'not known' if slope is None else f'{slope:g} bytes a cancel'}. "
        f"Held afterwards: {_held(found.leased_after)}. {_kept(found.against)}"
    )


def _soak_line(found: Soak) -> str:
    slope, growth = found.rss_slope_bytes_per_hour, found.rss_growth
    shown = "unknown" if slope is None else f"{slope / 2**20:.2f} MiB an hour, {100 * (growth or 0):.2f} % in this run"
    return (
        f"{found.minutes:g} minutes; memory slope after the first fifth: {shown}. "
        f"Held afterwards: {_held(found.leased_after)}. {_kept(found.against)}"
    )


def _attack_table(found: Attacks) -> list[str]:
    """Of one stream at a time beside each attack."""
    rows = [
        "| beside | what is sent | audible TTFA, whole | p95 over alone | underruns at 0, 100 ms | complete | restarts "
        "| CPU s per audio s | |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    alone = [("nothing", "", found.alone, 1.0, 0, found.alone.verdict.value)]
    beside = [
        (
            one.attack,
            one.what,
            one.level,
            found.ttfa_p95_over_alone(one),
            one.restarts,
            "; ".join(found.reasons(one)) or "kept",
        )
        for one in found.beside
    ]
    for name, what, level, ratio, restarts, verdict in [*alone, *beside]:
        dry = ", ".join(f"{one.count} ({one.stalled_ms:g} ms)" if one.count else "0" for one in level.underruns)
        cpu = level.server_cpu_s_per_audio_s
        cells = [
            name,
            what,
            _three(_ttfa(level, Feeding.WHOLE)),
            "-" if ratio is None else f"{ratio:g}",
            dry,
            f"{level.counts.complete}/{level.counts.offered}",
            str(restarts),
            "-" if cpu is None else f"{cpu:.4f}",
            verdict,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    grown = "not known" if found.grown_bytes is None else f"{found.grown_bytes / 2**20:.1f} MiB"
    rows += ["", f"Memory grown: {grown}. Held afterwards: {_held(found.leased_after)}. {_kept(found.against)}"]
    return rows


def _opening_table(found: Openings) -> list[str]:
    """200 sentences of all opening sounds, five requests a second."""
    rows = [
        "| way | first byte | first playable | audible TTFA | p95 limit | underruns at 0, 100 ms | complete "
        "| other load, cores |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for level, limit_ms in ((found.http, found.limits.http_ms), (found.words, found.limits.words_ms)):
        latencies = (_three(level.latencies_ms.get(name)) for name in ("ttfb", "first_playable", "audible_ttfa"))
        cells = [
            level.name.removeprefix("openings, "),
            *latencies,
            f"{limit_ms:g}",
            ", ".join(str(one.count) for one in level.underruns),
            f"{level.counts.complete}/{level.counts.offered}",
            f"{level.other_cores:.2f}" if level.other_cores is not None else "-",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    quiet = f"{_three(found.leading_quiet_ms)} ms, of soft fricatives {_three(found.soft_leading_quiet_ms)} ms"
    return [*rows, "", f"Quiet before the first audible window: {quiet}. {_kept(found.against)}"]


def _held(leased: Mapping[str, float]) -> str:
    return ", ".join(f"`{name}` {value:g}" for name, value in leased.items()) or "no gauge found"


def _kept(against: Sequence[str]) -> str:
    return f"**Not kept: {'; '.join(against)}.**" if against else "**Kept.**"
