"""A full collection over all that a server has from its start takes 0.1 s, in which no request is served."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator

import pytest

from engines.config import EngineConfig
from engines.engine import Engine
from server import serving
from server.app import create_app
from server.engine import worker as engine_worker
from server.serving import DrainingServer
from server.settings import Settings

MANY = 10_000


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_edge_is_kept_from_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = []

    def run(self: DrainingServer, sockets: list[socket.socket]) -> None:
        frozen.append(gc.get_freeze_count())
        assert gc.get_threshold() == engine_worker._COLLECT_AFTER
        sockets[0].close()

    monkeypatch.setattr(DrainingServer, "run", run)
    settings = Settings(port=0)
    serving.serve(create_app(settings), settings)
    assert frozen[0] > MANY


def test_the_engine_is_kept_from_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = []

    def run_engine(end: socket.socket, load: object) -> None:
        engine = load()  # type: ignore[operator]
        assert isinstance(engine, Engine)
        frozen.append(gc.get_freeze_count())
        assert gc.get_threshold() == engine_worker._COLLECT_AFTER
        engine.close()

    monkeypatch.setattr(engine_worker, "run_engine", run_engine)
    monkeypatch.setattr(engine_worker.signal, "signal", lambda *_: None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        engine_worker.run_process(theirs, None, EngineConfig(slots=1))
    assert frozen[0] > MANY
