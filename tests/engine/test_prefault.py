"""Memory that is brought in keeps what it holds, and its first use waits for no page."""

from __future__ import annotations

import mmap
import resource

import numpy as np
import pytest

from engines.runtime.prefault import bring_in, zeros

SHAPE = (8, 2**20)


def test_what_is_written_meanwhile_stays() -> None:
    array = zeros(SHAPE, "float32")
    array[:] = 1
    bring_in(array)
    assert array.min() == array.max() == 1


def test_first_uses_wait_for_no_page() -> None:
    array = np.zeros(SHAPE, "float32")
    if not bring_in(array):
        pytest.skip("this system brings no memory in: Linux does from 5.14 on")
    pages = array.reshape(-1)[:: mmap.PAGESIZE // array.itemsize]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pages += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < len(pages) // 100
    assert array.sum() == len(pages)


def test_small_arrays_are_zeros() -> None:
    assert zeros((3, 2), "int64").tolist() == [[0, 0]] * 3
