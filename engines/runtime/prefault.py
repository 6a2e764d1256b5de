"""Zeroed arrays whose memory is brought in beside the caller: hundreds of megabytes of slabs take half a second that a
start has not. What is touched earlier comes page by page, as it would without."""

from __future__ import annotations

import ctypes
import mmap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

_LARGE_BYTES = 2**20
_PIECE_BYTES = 2 * 2**20  # while one is brought in, other threads cannot map memory
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14: pages become present and keep what they hold

_beside = ThreadPoolExecutor(1, thread_name_prefix="prefault")


def zeros(shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.zeros(shape, dtype)
    if array.nbytes >= _LARGE_BYTES:
        _beside.submit(bring_in, array)
    return array


def await_all() -> None:
    """Until what was asked for so far is brought in, or cannot be."""
    _beside.submit(int).result()


def bring_in(array: NDArray[np.generic]) -> bool:
    """Returns whether the system did so."""
    try:
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return False
    first = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    end = array.ctypes.data + array.nbytes
    for start in range(first, end, _PIECE_BYTES):
        size = min(_PIECE_BYTES, end - start)
        if madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _POPULATE_WRITE) != 0:
            return False
    return True
