"""Whose turn it is on a busy machine: the generator's, so that its stamps are true.

A generator that waits for a core stamps late what came in time. It takes the first of these that it may: a real-time
turn (measured on 2 busy cores: lag p99 0.1 ms), a nice value of -10 (2 to 4 ms where the kernel groups processes by
session, else under 1), or none; then the server that the harness starts is put behind it instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_NICE = -10
_CURRENT_PAGES = 1  # MCL_CURRENT
_LOWER_NICE = 5
_REAL_TIME_PRIORITY = 1


def raise_own() -> str:
    """Raises this process as far as it may; says how far."""
    with contextlib.suppress(PermissionError, AttributeError):  # AttributeError: not Linux
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REAL_TIME_PRIORITY))
        return f"real-time {_REAL_TIME_PRIORITY}"
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    return f"nice {os.getpriority(os.PRIO_PROCESS, 0)}"


def hold_memory() -> None:
    """Keeps this process's pages where they are: a page that was taken back costs tens of milliseconds to fetch."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mlockall(_CURRENT_PAGES)


def may_raise() -> bool:
    """Whether `raise_own` would do anything; tried and undone."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, before - 1)
    except PermissionError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True


def lower(pid: int) -> None:
    """Puts a process behind; what it starts inherits that."""
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + _LOWER_NICE)


def nice_of(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)
