"""What a part found, on disk from its first row on.

A report is one JSON file with a Markdown page beside it; both are rewritten whenever a row arrives, by renaming, so a
process that dies keeps every row it measured. A table knows its state: running, done, skipped, failed or killed.
Only one process writes a report at a time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Cell = str | int | float | bool | None
STATES = ("running", "done", "skipped", "failed", "killed")


class Report:
    """The tables of one part. Opening keeps the tables that are there, beginning one replaces it."""

    def __init__(self, path: Path, title: str) -> None:
        self.path = path
        self.content: dict[str, Any] = {"title": title, "tables": {}}
        if path.exists():
            self.content = json.loads(path.read_text()) | {"title": title}

    @property
    def tables(self) -> dict[str, Any]:
        tables: dict[str, Any] = self.content["tables"]
        return tables

    def begin(self, name: str, title: str, run: dict[str, Cell]) -> None:
        """`run` says what was measured where: commit, device, driver, versions."""
        self.tables[name] = {"title": title, "state": "running", "reason": "", "run": run, "rows": [], "notes": []}
        self.save()

    def add_row(self, name: str, row: dict[str, Cell]) -> None:
        self.tables[name]["rows"].append(row)
        self.save()

    def add_note(self, name: str, note: str) -> None:
        self.tables[name]["notes"].append(note)
        self.save()

    def end(self, name: str, state: str, reason: str = "", seconds: float | None = None) -> None:
        assert state in STATES
        table = self.tables[name]
        table["state"], table["reason"] = state, reason
        if seconds is not None:
            table["seconds"] = round(seconds, 1)
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.path, json.dumps(self.content, indent=1, ensure_ascii=False) + "\n")
        _replace(self.path.with_suffix(".md"), self.markdown())

    def markdown(self) -> str:
        parts = [f"# {self.content['title']}\n"]
        for table in self.tables.values():
            parts.append(f"\n## {table['title']}\n")
            reason = f": {table['reason']}" if table["reason"] else ""
            parts.append(f"\nState: **{table['state']}**{reason}\n")
            parts.append("\n" + "; ".join(f"{key} {value}" for key, value in table["run"].items()) + "\n")
            parts.append(_markdown_table(table["rows"]))
            parts.extend(f"\n- {note}" for note in table["notes"])
            parts.append("\n" if table["notes"] else "")
        return "".join(parts)


class Table:
    """What a step may do with its table: add rows and notes."""

    def __init__(self, report: Report, name: str) -> None:
        self._report = report
        self._name = name

    def row(self, **cells: Cell) -> None:
        rounded = {key: _rounded(value) for key, value in cells.items()}
        print("  " + "  ".join(f"{key}={_text(value)}" for key, value in rounded.items()), flush=True)
        self._report.add_row(self._name, rounded)

    def note(self, text: str) -> None:
        print(f"  note: {text}", flush=True)
        self._report.add_note(self._name, text)


def short(error: Exception) -> str:
    """One line; of a long message its beginning and its end, where libraries say what was wrong."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:100]} ... {text[-195:]}"


def _rounded(value: Cell) -> Cell:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _text(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and abs(value) >= 1000:
        return f"{value:.0f}"
    return str(value).replace("|", "/").replace("\n", " ")


def _markdown_table(rows: list[dict[str, Cell]]) -> str:
    if not rows:
        return "\nNo row.\n"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_text(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n" + "\n".join(lines) + "\n"


def _replace(path: Path, text: str) -> None:
    """The old file or the whole new one, whenever the process dies."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    os.replace(fresh, path)
