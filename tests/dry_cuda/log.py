"""Reads the log of the pretended libraries: what the provider asked of its device."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

NODES = ("kernel", "copy", "fill", "host")


@dataclass(frozen=True, slots=True)
class Entry:
    event: str  # allocate, kernel, copy, fill, wait, record, replay, capture-begin, ...
    stream: int
    fields: tuple[str, ...]

    @property
    def is_captured(self) -> bool:
        return self.event in NODES and self.fields[0] == "captured"

    @property
    def name(self) -> str:
        """A kernel without its namespace, template arguments and parameters; a copy's direction, as H2D."""
        text = self.fields[1] if self.event in NODES else self.fields[0]
        return kernel_name(text) if self.event == "kernel" else text


def kernel_name(signature: str) -> str:
    """`void onnxruntime::cuda::_UnaryElementWise<float, ...>(...)` -> `_UnaryElementWise`"""
    depth, bare = 0, ""
    for letter in signature.replace("(anonymous namespace)", ""):
        depth += (letter in "<(") - (letter in ">)")
        if letter == "(" and depth == 1 and bare.strip():
            break
        if depth == 0 and letter not in ">)":
            bare += letter
    words = re.sub(r"\s+", " ", bare).strip().split(" ")
    return words[-1].split("::")[-1] or signature


class Log:
    """Entries of this process, in order; each is taken once."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def take(self) -> list[Entry]:
        with self._path.open(errors="replace") as file:
            file.seek(self._read)
            lines = file.read().splitlines()
            self._read = file.tell()
        return [Entry(event, int(stream), tuple(rest)) for event, stream, *rest in (line.split("\t") for line in lines)]


def captured(entries: list[Entry]) -> Counter[str]:
    """Nodes of the captures among the entries, by name."""
    return Counter(entry.name for entry in entries if entry.is_captured)


def during_captures(entries: list[Entry]) -> list[Entry]:
    inside, found = False, []
    for entry in entries:
        if entry.event == "capture-begin":
            inside = True
        elif entry.event == "capture-end":
            inside = False
        elif inside:
            found.append(entry)
    return found
