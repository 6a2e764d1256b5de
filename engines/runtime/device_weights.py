"""Weights of several graphs, once in a device's memory.

A graph's file may point into a file of weights beside it. `weights.json` lists those that kernels read on the device
alone: each is copied there with the first graph that has it, and every session is handed its address.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from ctypes import c_char_p, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engines.errors import BundleError
from engines.runtime.base import Array
from engines.runtime.device import Device
from engines.runtime.ort import ort

HELD, LISTED = "shared.weights", "weights.json"
KINDS = {"float32": (2, 32), "float16": (2, 16), "bfloat16": (4, 16)}  # DLPack's code and bits
_ALIGNED = 256
_CUDA = 2  # DLPack's number


class Weight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    at: int  # byte of the file

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * KINDS[self.dtype][1] // 8


class DeviceWeights:
    def __init__(self, device: Device, write: Callable[[int, Array], None]) -> None:
        """`write` copies bytes [n] to an address of the device."""
        self._device, self._write = device, write
        self._values: dict[tuple[Path, Weight], Any] = {}  # a session has the values' addresses, and does not keep them
        self.size_bytes = 0

    def of(self, graph: Path) -> dict[str, Any]:
        """By name, as a session takes them. Empty where none are listed: then a session has its own."""
        if not graph.with_name(LISTED).is_file():
            return {}
        file, named = graph.with_name(HELD), _listed(graph)
        missing = {one for one in named.values() if (file, one) not in self._values}
        if missing:
            self._load(file, sorted(missing, key=lambda one: one.at))
        return {name: self._values[file, one] for name, one in named.items()}

    def _load(self, file: Path, weights: list[Weight]) -> None:
        content = np.memmap(file, np.uint8, "r")
        if (end := max(one.at + one.size_bytes for one in weights)) > len(content):
            raise BundleError(f"{file} has {len(content)} bytes, {LISTED} names {end}")
        size_bytes = sum(_rounded(one.size_bytes) for one in weights)
        address = self._device.allocate(size_bytes)
        self.size_bytes += size_bytes
        for one in weights:
            self._write(address, content[one.at : one.at + one.size_bytes])
            self._values[file, one] = self._value(address, one)
            address += _rounded(one.size_bytes)

    def _value(self, address: int, one: Weight) -> Any:
        code, bits = KINDS[one.dtype]
        shape = (c_int64 * len(one.shape))(*one.shape)
        tensor = _Tensor(address, _Place(_CUDA, 0), len(shape), _Kind(code, bits, 1), ctypes.cast(shape, c_void_p))
        return ort.OrtValue.from_dlpack(_capsule(_held(tensor), b"dltensor", None))


def _listed(graph: Path) -> dict[str, Weight]:
    path = graph.with_name(LISTED)
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Weight]])
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path} names no weights: {error}") from error
    return listed.get(graph.stem, {})


def _rounded(size_bytes: int) -> int:
    return size_bytes + -size_bytes % _ALIGNED


class _Place(ctypes.Structure):
    _fields_ = (("kind", c_int32), ("index", c_int32))


class _Kind(ctypes.Structure):
    _fields_ = (("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("address", c_void_p),
        ("place", _Place),
        ("axes", c_int32),
        ("kind", _Kind),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("first_byte", c_uint64),
    )


class _ManagedTensor(ctypes.Structure):
    """DLPack's. What it points to is the device's own."""

    _fields_ = (("tensor", _Tensor), ("context", c_void_p), ("release", c_void_p))


def _held(tensor: _Tensor) -> int:
    """Its address, in memory that `free` gives back: a session may end when no Python runs any more."""
    libc = ctypes.CDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = (c_size_t,), c_void_p
    managed = _ManagedTensor(tensor, None, ctypes.cast(libc.free, c_void_p))
    address: int = libc.malloc(ctypes.sizeof(managed))
    ctypes.memmove(address, ctypes.addressof(managed), ctypes.sizeof(managed))
    return address


_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.argtypes, _capsule.restype = (c_void_p, c_char_p, c_void_p), ctypes.py_object
