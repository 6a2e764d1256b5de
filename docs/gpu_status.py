"""Writes measurements/gpu-status.md from the tables that `make gpu-check` wrote and that are committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLES = Path(__file__).resolve().parent / "measurements" / "gpu"
PRETENDED = "pretended"

_NOTHING = "**Nothing yet.** No GPU was at hand, and no speed on a GPU is claimed: all figures were measured on a CPU."


def gpu_status() -> str:
    devices = [folder for folder in sorted(TABLES.iterdir()) if folder.is_dir() and folder.name != PRETENDED]
    text = (TABLES / "template.md").read_text()
    told = "\n".join(line for folder in devices for line in _device(folder)) or _NOTHING
    return text.replace("{devices}", told).replace("{pretended}", "\n".join(_parts(TABLES / PRETENDED)))


def _device(folder: Path) -> list[str]:
    facts = next(table["run"] for _, table in _tables(folder))
    named = "; ".join(f"{name} {value}" for name, value in facts.items())
    return [f"## {facts['GPU']}", "", f"{named}.", "", *_parts(folder), ""]


def _parts(folder: Path) -> list[str]:
    lines = ["| part | state | rows | seconds | tables |", "|---|---|---|---|---|"]
    for path, table in _tables(folder):
        state = f"{table['state']}: {table['reason']}" if table["reason"] else table["state"]
        link = f"[{path.stem}](gpu/{folder.name}/{path.stem}.md)"
        lines.append(f"| {table['title']} | {state} | {len(table['rows'])} | {table.get('seconds', '')} | {link} |")
    return lines


def _tables(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [
        (path, table)
        for path in sorted(folder.glob("*.json"))
        for table in json.loads(path.read_text())["tables"].values()
    ]
