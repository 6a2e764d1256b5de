"""What memory there is for slots: the machine's, or less where a control group holds this process to less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_SHARE = 0.5  # for slots; the rest is for weights, the server and the system
_DEVICE_SHARE = 0.85  # for slots; the rest is for captured calls and workspaces
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def slots_by_memory(wanted: int, bytes_per_slot: int) -> int:
    """As many of them as memory holds."""
    available = available_bytes()
    return wanted if available is None else max(1, min(wanted, int(_SHARE * available / bytes_per_slot)))


def slots_on_device(bytes_per_slot: int, free_bytes: int) -> int:
    """As many as a device's memory holds beside its weights."""
    return max(1, int(_DEVICE_SHARE * free_bytes / bytes_per_slot))


def available_bytes() -> int | None:
    """None where the system does not say."""
    return min([*_of_the_machine(), *_of_groups()], default=None)


def _of_the_machine() -> Iterator[int]:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _of_groups() -> Iterator[int]:
    """Of this process's group and those around it (version 2, docs.kernel.org/admin-guide/cgroup-v2.html): a container
    sees its own as the first. Files that were read and can be dropped do not count as used."""
    for line in _text(_OWN_GROUP).splitlines():
        number, _, name = line.split(":", 2)
        if number != "0":
            continue
        own = _GROUPS / name.lstrip("/")
        for folder in (own, *own.parents[: len(own.relative_to(_GROUPS).parts)]):
            limit, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
            if limit.isdecimal() and used.isdecimal():
                stats = dict(pair.split() for pair in _text(folder / "memory.stat").splitlines())
                yield max(0, int(limit) - int(used) + int(stats.get("inactive_file", 0)))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
