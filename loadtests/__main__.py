"""python -m loadtests: without a mode one stream, a ladder to the knee, overload, cancels. See docs/load-tests.md.

It ends with 1 if what was asked for was not kept, and says why. A level of the ladder that fails is a finding.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
from pathlib import Path

from rich.console import Console

from loadtests import priority, report, scenarios, server_process
from loadtests.arrivals import Arrivals, rate_hz, read_trace
from loadtests.attacks import ATTACKS
from loadtests.attacks.scenario import attacks
from loadtests.level import GeneratorDied
from loadtests.openings import Limits, limits_here, openings
from loadtests.results import JITTER_MS
from loadtests.server_process import Server, ServerTrouble
from loadtests.session import Session, Unusable

_PLACE = Path("docs/measurements")
_SCRATCH = Path("build/bench")


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__)
    where = words.add_argument_group("server")
    where.add_argument("--url", help="a server that runs already; without it one is started and stopped")
    where.add_argument("--server-pid", type=int, help="of --url, where it cannot be found by its port")
    where.add_argument("--server-command", help="what to start, with {port}; without it this checkout's server")
    where.add_argument("--port", type=int, help="for the server that is started; any free one")
    modes = words.add_argument_group("modes; without one: one stream, ladder, overload, cancels")
    modes.add_argument("--quick", action="store_true", help="all of it in two minutes, for a look")
    modes.add_argument("--streams", type=int, choices=(1,), help="latency of one stream at a time")
    modes.add_argument("--level", type=float, nargs="+", default=[], metavar="N", help="these levels and no search")
    modes.add_argument("--arrivals", type=Arrivals, choices=list(Arrivals), default=Arrivals.POISSON)
    modes.add_argument("--trace", type=Path, help="arrivals from a file of JSON lines")
    modes.add_argument("--overload", action="store_true", help="--level, else the last knee, then --times its arrivals")
    modes.add_argument("--times", type=float, default=3.0)
    modes.add_argument("--rounds", type=int, default=5, help="of knee and overload; their median is judged")
    modes.add_argument("--soak", type=float, metavar="MINUTES", help="holds --level, else half the last knee")
    modes.add_argument("--cancels", type=int, metavar="N", help="N cancels at random moments")
    modes.add_argument(
        "--attacks", nargs="*", metavar="NAME", help="one stream beside each attack whose name holds NAME; without: all"
    )
    modes.add_argument(
        "--openings", action="store_true", help="how soon 200 sentences of all opening sounds are heard, 5 a second"
    )
    how = words.add_argument_group("how")
    how.add_argument("--seconds", type=float, default=20.0, help="measured, for each level")
    how.add_argument("--warm-up", type=float, default=15.0, help="before that; judged, but not in the percentiles")
    how.add_argument("--start", type=int, default=16, help="first level of the ladder")
    how.add_argument("--top", type=int, default=512, help="last level of the ladder")
    how.add_argument("--max-levels", type=int, default=12)
    how.add_argument("--confirm", type=int, default=1, help="how many more seeds the knee must pass")
    how.add_argument(
        "--jitter-ms", type=int, choices=JITTER_MS, default=0, help="underruns at this buffer fail a level"
    )
    how.add_argument(
        "--audible-ms",
        type=float,
        nargs=2,
        metavar=("HTTP", "WORDS"),
        help="limits of --openings; without: 25 50 where the processor has AVX-512 VNNI, else 35 60",
    )
    how.add_argument("--cancels-per-s", type=float, default=10.0)
    how.add_argument("--seed", type=int, default=1)
    how.add_argument("--same-bytes", action=argparse.BooleanOptionalAction, default=True)
    how.add_argument("--out", type=Path, help=f"folder of the report; {_PLACE} for a whole run, else {_SCRATCH}")
    how.add_argument("--name", default="load")
    how.add_argument("--raw", type=Path, default=_SCRATCH, help="folder of the raw streams and the server's log")
    return words


def main() -> None:
    options = parser().parse_args()
    for late in ("tables", "plots"):  # what is missing should be missed now, not after ten minutes
        importlib.import_module(f"loadtests.{late}")
    console, began_s, server = Console(), time.monotonic(), None
    try:
        machine = report.machine()
        server = _server(options, console)
        machine["model"] = server.model()
        machine["server_nice"] = None if server.pid is None else priority.nice_of(server.pid)
        session = Session(
            server=server,
            console=console,
            raw_path=options.raw / f"{options.name}-streams.jsonl.gz",
            seed=options.seed,
            warm_up_s=3.0 if options.quick else options.warm_up,
            measure_s=6.0 if options.quick else options.seconds,
            gate_jitter_ms=options.jitter_ms,
            same_bytes=options.same_bytes,
        )
        session.learn()
        found = report.Report(session=session, command=report.command(), machine=machine)
        whole = _run(options, found)
        found.done_s = time.monotonic() - began_s
        folder = options.out or (_PLACE if whole and not options.quick else _SCRATCH)
        for path in found.write(folder, options.name):
            console.print(f"wrote {path}", highlight=False)
        against = found.against
    except (ServerTrouble, Unusable, GeneratorDied, ValueError, OSError) as error:
        console.print(f"[red]error[/red] {error}", highlight=False)
        raise SystemExit(1) from error
    finally:
        if server is not None:
            server.stop()
    for reason in against:
        console.print(f"[red]not kept[/red] {reason}", highlight=False)
    raise SystemExit(1 if against else 0)


def _server(options: argparse.Namespace, console: Console) -> Server:
    raised = priority.may_raise()
    if options.url:
        server = server_process.attach(options.url, options.server_pid)
    else:
        log = options.raw / f"{options.name}-server.log"
        server = server_process.start(options.server_command, options.port, log, lower=not raised)
    console.print(
        f"{server.url}: the generator's priority {'is raised' if raised else 'may not be raised'}, "
        + ("no server process found: CPU and memory are not measured" if server.pid is None else "")
        + (f"the server has nice {priority.nice_of(server.pid)}" if server.pid is not None else ""),
        highlight=False,
    )
    return server


def _run(options: argparse.Namespace, found: report.Report) -> bool:
    """Runs what was asked for; returns whether that was the whole bench."""
    session, chosen = found.session, False
    if options.streams is not None:
        found.solo, chosen = scenarios.solo(session, options.seconds), True
    if options.trace is not None:
        planned = read_trace(options.trace, options.seed)
        seconds = max(one.at_s for one in planned) + 1
        found.levels.append(
            session.run(planned, "trace", Arrivals.TRACE, level=0, seed=options.seed, seconds=seconds, warm_up_s=0.0)
        )
        chosen = True
    if options.soak is not None:
        level = options.level[0] if options.level else max(1, _last_knee() // 2)
        found.soak, chosen = scenarios.soak(session, level, options.soak), True
    elif options.overload:
        level = options.level[0] if options.level else _last_knee()
        found.overload, chosen = scenarios.overload(session, level, options.times, options.rounds), True
    elif options.level:
        found.levels += [session.level(level, options.arrivals) for level in options.level]
        chosen = True
    if options.cancels is not None:
        found.cancels, chosen = scenarios.cancels(session, options.cancels, options.cancels_per_s), True
    if options.openings:
        http_ms, words_ms = options.audible_ms or (None, None)
        limits = Limits(http_ms=http_ms, words_ms=words_ms) if http_ms and words_ms else limits_here()
        found.openings, chosen = openings(session, limits), True
    if options.attacks is not None:
        named = [one for one in ATTACKS if not options.attacks or any(name in one.name for name in options.attacks)]
        if not named:
            raise ValueError(f"no attack is named so; there are: {', '.join(one.name for one in ATTACKS)}")
        found.attacks, chosen = attacks(session, named, options.seconds), True
    if not chosen:
        _whole(options, found)
    return not chosen


def _whole(options: argparse.Namespace, found: report.Report) -> None:
    session = found.session
    found.solo = scenarios.solo(session, 6.0 if options.quick else options.seconds)
    found.ladder = scenarios.find_knee(
        session,
        start=options.start,
        top=options.top,
        max_levels=4 if options.quick else options.max_levels,
        confirm=0 if options.quick else options.confirm,
    )
    at_knee = found.ladder.at_knee
    if at_knee is not None:
        found.overload = scenarios.overload(session, at_knee.level, 3.0, 1 if options.quick else options.rounds)
        rate = min(options.cancels_per_s, math.ceil(rate_hz(at_knee.level, session.audio_s)))
        found.cancels = scenarios.cancels(session, 50 if options.quick else 150, rate)


def _last_knee() -> int:
    """Of the last whole run."""
    path = _PLACE / "load.json"
    try:
        return int(json.loads(path.read_text())["ladder"]["knee"]["passes"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} knows no knee; say --level N, or run the whole bench first") from error


if __name__ == "__main__":
    main()
