"""Tensors of published checkpoints: one safetensors file, or several with an index. Reads lazily from mapped files.

The format (8 bytes of length, a JSON header, raw little-endian values) is read here and not by its library, because the
errors are the point: a download that broke off names its file, its bytes and its tensor. Nothing is copied until
`read`, so a checkpoint of any size opens in the memory of its headers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoints.errors import CheckpointError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_MAX_HEADER_BYTES = 100_000_000  # the format's own bound
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_FLOATS = {"F32", "F16", "BF16"}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies."""

    path: Path
    start: int  # bytes from the beginning of the file
    end: int
    dtype: str
    shape: tuple[int, ...]


class Tensors:
    """All tensors of a folder by name."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self._maps: dict[Path, Any] = {}

    @classmethod
    def open(cls, folder: Path) -> Tensors:
        index = folder / INDEX
        if not index.exists():
            path = folder / SINGLE
            if not path.exists():
                raise CheckpointError(f"{folder} has neither {SINGLE} nor {INDEX}")
            return cls(_header(path))
        return cls(_sharded(folder, index))

    @classmethod
    def of_file(cls, path: Path) -> Tensors:
        if not path.is_file():
            raise CheckpointError(f"no file {path}")
        return cls(_header(path))

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def check(self, expected: Mapping[str, tuple[int, ...]], prefixes: Iterable[str] = ("",)) -> None:
        """Exactly the expected names under the prefixes, each with its shape and a floating type."""
        found = {name for name in self._entries if name.startswith(tuple(prefixes))}
        for problem, names in (
            ("lacks", sorted(expected.keys() - found)),
            ("has unknown", sorted(found - expected.keys())),
        ):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                raise CheckpointError(f"the checkpoint {problem} tensors: {', '.join(names[:3])}{more}")
        for name, shape in expected.items():
            entry = self._entries[name]
            if entry.shape != tuple(shape):
                raise CheckpointError(
                    f"{name} in {entry.path.name} has shape {list(entry.shape)}, the config asks for {list(shape)}"
                )
            if entry.dtype not in _FLOATS:
                raise CheckpointError(
                    f"{name} in {entry.path.name} has dtype {entry.dtype}, right is one of {', '.join(sorted(_FLOATS))}"
                )

    def read(self, name: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A copy in memory of its own."""
        entry = self._entries[name]
        if entry.path not in self._maps:
            self._maps[entry.path] = np.memmap(entry.path, np.uint8, "r")
        raw = np.array(self._maps[entry.path][entry.start : entry.end])
        return torch.from_numpy(raw).view(_TYPES[entry.dtype]).reshape(entry.shape).to(dtype)


def _sharded(folder: Path, index: Path) -> dict[str, Entry]:
    try:
        where: dict[str, str] = json.loads(index.read_text())["weight_map"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{index} is not a readable index: {error!r}") from error
    entries: dict[str, Entry] = {}
    shards = sorted(set(where.values()))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}, of {len(shards)} shards that {index.name} names")
    for shard in shards:
        found = _header(folder / shard)
        for name in found:
            if where.get(name) != shard:
                raise CheckpointError(
                    f"{shard} holds {name}, which {index.name} places in {where.get(name, 'no file')}"
                )
        entries |= found
    lost = sorted(where.keys() - entries.keys())
    if lost:
        raise CheckpointError(f"{where[lost[0]]} lacks {lost[0]}, which {index.name} places there")
    return entries


def _header(path: Path) -> dict[str, Entry]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            raise CheckpointError(f"{path.name} is truncated or no safetensors file: {size} bytes, header of {length}")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError as error:
            raise CheckpointError(f"{path.name} has no readable safetensors header: {error}") from error
    header.pop("__metadata__", None)
    return {name: _entry(path, size, 8 + length, name, value) for name, value in header.items()}


def _entry(path: Path, size: int, start: int, name: str, value: Any) -> Entry:
    try:
        dtype, shape = value["dtype"], tuple(int(axis) for axis in value["shape"])
        first, last = value["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} describes {name} as {value!r}, which is no safetensors entry") from error
    if dtype not in _TYPES:
        raise CheckpointError(f"{name} in {path.name} has dtype {dtype}, this reader knows {', '.join(sorted(_TYPES))}")
    if start + last > size:
        raise CheckpointError(f"{path.name} is truncated: {name} ends at byte {start + last}, the file has {size}")
    wanted = int(np.prod(shape, dtype=np.int64)) * _TYPES[dtype].itemsize
    if last - first != wanted:
        raise CheckpointError(f"{name} in {path.name} takes {last - first} bytes, {dtype} {list(shape)} takes {wanted}")
    return Entry(path, start + first, start + last, dtype, shape)


def write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """One file, tensors in the given order."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.itemsize
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def write_sharded(folder: Path, tensors: Mapping[str, torch.Tensor], shard_bytes: int) -> None:
    """As the hub splits: shards of at most `shard_bytes` (a larger tensor has one alone), and an index."""
    shards: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        count = tensor.numel() * tensor.itemsize
        if shards[-1] and filled + count > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += count
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write(folder / file, shard)
        where |= dict.fromkeys(shard, file)
    total = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=2))
