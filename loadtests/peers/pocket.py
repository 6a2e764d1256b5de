"""Part (b): pocket-tts' own loop beside our server, with the same random weights, for its three shapes of network.

Both read one checkpoint in the released layout: theirs as it is, ours exported with `parlando export`. Both speak the
same texts, and an utterance ends where its end logit rises. Theirs speaks one text at a time, in float or in int8,
whichever is cheaper. Ours is the whole server, its edge included, with 8 listeners who play in real
time. The two take turns. Then listeners are added, and processes of theirs, until one runs dry.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from loadtests.peers import record
from loadtests.peers.flite import Server, running
from loadtests.peers.listener import crowd, listen
from loadtests.peers.record import Places
from loadtests.peers.worker import Worker

SIZES = {"1.9M": "english_2m_2026-10", "6.9M": "english_7m_refl_2026-10", "100M": "english"}
WANTED = {"1.9M": 7, "6.9M": 5, "100M": 3}  # times fewer CPU seconds
VOICE, RATE_HZ, STREAMS = "alba", 24_000, 8
FORMS = ("float32", "int8")
PIECES = ("costs", "streams")
_SETTLES_S = 5.0  # an idle server measures its machine
_SHORT_TIMES = 3  # a round
SHORT = "Good morning, this is the front desk."
TEXTS = (
    "Good morning, this is the front desk. How may I help you today?",
    "Your order left the warehouse on Tuesday and should arrive before the end of the week.",
    "Please hold the line while I look that up. It will only take a moment.",
    "The weather tomorrow will be mild, with some clouds in the morning and a light breeze from the west.",
)
LADDERS = {
    "1.9M": (16, 32, 48, 64, 80, 96, 112, 128),
    "6.9M": (16, 24, 32, 40, 48, 56, 64, 80, 96),
    "100M": (4, 8, 12, 16, 20, 24),
}

Job = dict[str, Any]


def prepared(places: Places, size: str) -> tuple[Path, Path]:
    """-> checkpoint and bundle, which are made where they are not."""
    folder, bundle = places.kept / size, places.kept / f"{size}-bundle"
    if not (bundle / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make = ["-m", "models.checkpoints.pocket.random_checkpoint", SIZES[size], str(folder)]
        export = ["-m", "server", "export", str(folder), "--model", SIZES[size], "--voice", VOICE]
        subprocess.run([places.training, *make], check=True)
        subprocess.run([places.training, *export, "--out", str(bundle)], check=True, stdout=subprocess.DEVNULL)
    return folder, bundle


def most(holds: Callable[[int], bool], ladder: tuple[int, ...]) -> int:
    """The highest rung that holds before two do not."""
    held, failures = 0, 0
    for rung in ladder:
        if holds(rung):
            held, failures = rung, 0
        else:
            failures += 1
        if failures == 2:
            break
    return held


def compared(form: str, theirs: list[Job], ours: list[Job]) -> Job:
    """Medians over rounds, a round of each in turn."""
    cost, own = ([one["cpu_s"] / one["audio_s"] for one in runs] for runs in (theirs, ours))
    return {
        "form": form,
        "rounds": len(ours),
        "theirs_cpu_s_per_audio_s": record.spread(cost),
        "ours_cpu_s_per_audio_s": record.spread(own),
        "times_fewer": record.spread([a / b for a, b in zip(cost, own, strict=True)]),
        "theirs_ttfa_ms": record.spread([1000 * one["short_s"] for one in theirs]),
        "ours_ttfa_ms": record.spread([1000 * one["short_s"] for one in ours]),
    }


def run(places: Places) -> Job:
    """What is not measured now stays as an earlier run wrote it."""
    if importlib.util.find_spec("pocket_tts") is None:
        return {"skipped": "pocket-tts is not in the benchmark's environment"}
    sizes: Job = record.read("pocket").get("sizes", {})
    for size in places.sizes:
        for piece in places.pieces:
            sizes[size] = sizes.get(size, {}) | (_costs if piece == "costs" else _streams)(places, size)
    return {
        "weights": "random, the same on both sides",
        "streams": STREAMS,
        "wanted": WANTED,
        "sizes": {size: sizes[size] for size in SIZES if size in sizes},
        "versions": record.versions(places.serving, ["onnxruntime"])
        | record.versions(places.peers, ["pocket-tts", "torch"]),
    }


@contextlib.contextmanager
def _both(places: Places, size: str) -> Iterator[tuple[Server, list[str], Path]]:
    """Our server, the command of a worker of theirs, and the checkpoint."""
    folder, bundle = prepared(places, size)
    serve = [places.serving, "-m", "server", "serve", "--bundle", str(bundle), "--port", str(places.port)]
    with running("ours", serve, places.port, None) as ours:
        time.sleep(_SETTLES_S)
        yield ours, [places.peers, "-m", "loadtests.peers.pocket_step"], folder


def _costs(places: Places, size: str) -> Job:
    """Their cheaper form is kept: one round of each decides."""
    rounds, seconds = (2, 5) if places.quick else (5, 8)
    with _both(places, size) as (ours, command, folder), Worker(command) as peer:
        warm = {form: _their_round(peer, folder, form) for form in FORMS}
        _our_round(ours, seconds)
        form = min(warm, key=lambda form: warm[form]["cpu_s"] / warm[form]["audio_s"])
        taken = [(_their_round(peer, folder, form), _our_round(ours, seconds)) for _ in range(rounds)]
    return compared(form, [theirs for theirs, _ in taken], [own for _, own in taken])


def _streams(places: Places, size: str) -> Job:
    """The most of each side that run with no underrun at all; theirs in its cheaper form, or the better of both."""
    seconds = 4 if places.quick else 8
    with _both(places, size) as (ours, command, folder):
        held = most(lambda count: _ours_holds(ours, count, seconds), LADDERS[size])
    form = record.read("pocket").get("sizes", {}).get(size, {}).get("form")
    forms = FORMS if form is None else (form,)
    theirs = [most(partial(_theirs_hold, command, folder, one), tuple(range(1, 13))) for one in forms]
    return {"ours_streams": held, "theirs_streams": max(theirs)}


def _their_round(peer: Worker, folder: Path, form: str) -> Job:
    short = _asked(peer, folder, form, [SHORT] * _SHORT_TIMES)
    return _asked(peer, folder, form, [*TEXTS[:2]]) | {"short_s": statistics.median(short["ttfas_s"])}


def _our_round(ours: Server, seconds: float) -> Job:
    short = [asyncio.run(listen(ours.url, SHORT, rate_hz=RATE_HZ)).first_byte_s for _ in range(_SHORT_TIMES)]
    before_s = ours.cpu_s()
    heard = asyncio.run(crowd(ours.url, [*TEXTS], STREAMS, seconds, rate_hz=RATE_HZ))
    if any(one.refused for one in heard):
        raise RuntimeError(f"our server refused one of {STREAMS} listeners")
    audio_s = sum(one.audio_s for one in heard)
    return {"cpu_s": ours.cpu_s() - before_s, "audio_s": audio_s, "short_s": statistics.median(short)}


def _asked(peer: Worker, folder: Path, form: str, texts: list[str]) -> Job:
    job = {"folder": str(folder), "int8": form == "int8", "threads": 1, "voice": VOICE, "texts": texts}
    answer = peer.ask(job)
    if "error" in answer:
        raise RuntimeError(f"pocket-tts on {folder}: {answer['error']}")
    return answer


def _ours_holds(ours: Server, listeners: int, seconds: float) -> bool:
    heard = asyncio.run(crowd(ours.url, [*TEXTS], listeners, seconds, rate_hz=RATE_HZ))
    return not any(one.refused or one.underruns for one in heard)


def _theirs_hold(command: list[str], folder: Path, form: str, streams: int) -> bool:
    """A process a stream, all at once; two texts each, behind one that warms."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Worker(command)) for _ in range(streams)]
        with ThreadPoolExecutor(streams) as threads:
            list(threads.map(lambda peer: _asked(peer, folder, form, [SHORT]), peers))
            done = list(threads.map(lambda peer: _asked(peer, folder, form, [*TEXTS[:2]]), peers))
    return not any(sum(one["underruns"]) for one in done)
