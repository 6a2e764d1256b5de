"""One server for the attacks that need no settings of their own, and the listener beside each of them.

An attack is a test inside `victim`, or inside `spared(server)` for a server with other settings. It stays on the
loopback, sends a bounded amount and ends what it started.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.attacks.victim import Victim, spared
from tests.edge.conftest import RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("dictionaries")
    with RunningServer(pronunciations=str(folder)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as one:
        yield one


@pytest.fixture
def victim(server: RunningServer) -> Iterator[Victim]:
    with spared(server) as one:
        yield one
