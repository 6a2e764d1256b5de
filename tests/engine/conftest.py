"""What all engine tests share: loading is the slow part."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.shipped import SHIPPED
from engines.text import FrontEnd
from tests.engine.driving import Make
from tests.families.toy_engine import TOYS, toy_engine


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return _shipped("flite")


@pytest.fixture(scope="session")
def front_end() -> FrontEnd:
    return FrontEnd.load()


@cache
def _shipped(name: str) -> Bundle:
    return load_bundle(Path(name))


@pytest.fixture(params=[*SHIPPED, "seeing", *TOYS])
def make(request: pytest.FixtureRequest, front_end: FrontEnd) -> Make:
    """Makes engines of one family."""

    def engine(**settings: object) -> Engine:
        defaults: dict[str, object] = {"slots": 12, "workers": False}
        config = EngineConfig(**(defaults | settings))  # type: ignore[arg-type]
        if request.param in TOYS:
            return toy_engine(request.param, config)
        bundle = _shipped(request.param) if request.param in SHIPPED else request.getfixturevalue("seeing")
        return load_engine(bundle, config, front_end=front_end)

    return engine


@pytest.fixture
def engine(make: Make) -> Iterator[Engine]:
    one = make()
    yield one
    one.check_integrity()
    one.close()


@pytest.fixture
def shipped(bundle: Bundle, front_end: FrontEnd) -> Iterator[Engine]:
    one = load_engine(bundle, EngineConfig(slots=12, workers=False), front_end=front_end)
    yield one
    one.check_integrity()
    one.close()
