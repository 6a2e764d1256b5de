"""Fixtures of the dry run. Without the pretended libraries their tests skip; `make test-gpu-dry` brings them."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IS_DRY = "DRY_CUDA" in os.environ
_LOG = Path(tempfile.mkdtemp(prefix="dry-cuda-"), "log")
if IS_DRY:
    _LOG.touch()
    os.environ["DRYCUDA_LOG"] = str(_LOG)  # the libraries open it at their first call

from engines.runtime.device import LIBRARIES, CudaDevice, Device, load_libraries
from tests.dry_cuda.fake_device import FakeDevice
from tests.dry_cuda.log import Log


@pytest.fixture
def pretended() -> None:
    """Only where the CUDA libraries are the pretended ones."""
    if not IS_DRY:
        pytest.skip("the pretended CUDA libraries are not loaded here; `make test-gpu-dry` runs this")
    load_libraries()
    ctypes.CDLL(LIBRARIES[0]).cudaGetLastError()  # a test before this one may have left its error to the next launch


@pytest.fixture(scope="session")
def _whole_log() -> Log:
    return Log(_LOG)


@pytest.fixture
def log(pretended: None, _whole_log: Log) -> Log:
    """Entries from here on."""
    _whole_log.take()
    return _whole_log


@pytest.fixture(params=["fake", "pretended"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Both doubles of a GPU: they keep the same rules."""
    if request.param == "fake":
        made: Device = FakeDevice()
    else:
        request.getfixturevalue("pretended")
        made = CudaDevice()
    yield made
    made.close()
