"""What an attack is, and the process that it runs in."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loadtests import priority

_ENDS_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    name: str
    what: str  # is sent, for the report
    run: Callable[[str], None]  # with the server's URL; a function of a module, paced, that never returns


@contextmanager
def under_way(attack: Attack, url: str) -> Iterator[None]:
    """The attack goes on meanwhile, behind the generator, whose stamps must stay true."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(attack, url), daemon=True)
    process.start()
    try:
        yield
        if not process.is_alive():
            raise RuntimeError(f"the attack {attack.name!r} ended by itself with {process.exitcode}")
    finally:
        process.terminate()
        process.join(_ENDS_S)
        if process.is_alive():
            process.kill()
            process.join()


def _run(attack: Attack, url: str) -> None:
    priority.lower(os.getpid())
    attack.run(url)
