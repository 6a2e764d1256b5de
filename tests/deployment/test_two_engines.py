"""A Prometheus scrapes a server with two engines: panels and the autoscaler's queries add them up, once each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.deployment.test_dashboard_live import panel_expressions, scraping, values
from tests.deployment.tools import DEPLOY
from tests.edge.conftest import RunningServer
from tests.edge.test_engine_kills import ready_engines
from tests.edge.test_ws import dial, hear, say

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(engines="2") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def prometheus(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with dial(server) as one, dial(server) as two:  # they stay
        ready_engines(server, 2)
        for socket in (one, two):
            say(socket, type="append", text="One of two streams, ")
            hear(socket, "waiting_for_text")
        with scraping(f"127.0.0.1:{server.port}", tmp_path_factory.mktemp("prometheus")) as client:
            yield client


def told(server: RunningServer, name: str) -> list[float]:
    """Of each engine, by the server itself."""
    figures = httpx.get(f"{server.url}/metrics").text
    return [float(value) for value in re.findall(rf'^{name}\{{engine="\d"\}} (\S+)$', figures, re.MULTILINE)]


def test_the_autoscaler_counts_a_replica_once(server: RunningServer, prometheus: httpx.Client) -> None:
    yaml = pytest.importorskip("yaml", reason="tests/deployment/requirements.txt is not installed")
    scaled = yaml.safe_load((DEPLOY / "kubernetes/overlays/keda/scaledobject.yaml").read_text())
    query = {trigger["name"]: trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]}
    capacities = told(server, "tts_capacity_streams")
    assert len(capacities) == 2
    (wanted,) = values(prometheus, query["streams"])
    assert float(wanted) == pytest.approx(2 / (0.7 * sum(capacities)), rel=0.2)  # capacities are measured on
    assert values(prometheus, query["waiting"]) == ["0"]


def test_panels_add_engines_up(server: RunningServer, prometheus: httpx.Client) -> None:
    found = {}
    for title, expression in panel_expressions():
        found[title, expression] = values(prometheus, expression.replace("$__rate_interval", "1m"))
    slots = found["Streams", "sum(tts_streams_active)"]
    assert slots == ["2"]
    (capacity,) = found["Streams", "sum(tts_capacity_streams)"]
    assert float(capacity) == pytest.approx(sum(told(server, "tts_capacity_streams")), rel=0.2)
    engines = [expression for _, expression in found if "tts_engine_process" in expression]
    assert engines
    for title, expression in found:
        if expression in engines:
            assert len(found[title, expression]) == 1, f"{title}: one line a server"
