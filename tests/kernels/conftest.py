"""Attention is tested with the lanes of AVX-512 and with those of AVX2."""

from __future__ import annotations

import pytest

from engines.bundle import Bundle, load_bundle


@pytest.fixture(autouse=True, params=[16, 8])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX-512 and AVX2, as far as this processor has them."""
    monkeypatch.setenv("KERNEL_LANES", str(request.param))


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle()
