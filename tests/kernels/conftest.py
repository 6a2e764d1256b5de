"""Every kernel is tested in every form: those that this processor cannot run are reported by name as skipped.

KERNEL_LIBRARY names another build of the library; `make sanitize` sets it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.runtime import kernels
from engines.runtime.kernels import FORMS

if given := os.environ.get("KERNEL_LIBRARY"):
    kernels.library_file = lambda: given


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if kernels.library_file() is None:
        pytest.skip("the kernels were not compiled when this package was installed")
    if not kernels.runs(name):
        pytest.skip(f"this processor does not run the form {name}; it is compiled all the same")
    return name


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(Path("flite"))
