"""What all engine tests share: loading is the slow part."""

from __future__ import annotations

import pytest

from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.text import FrontEnd


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle()


@pytest.fixture(scope="session")
def front_end() -> FrontEnd:
    return FrontEnd.load()
