"""A Prometheus scrapes the server's metrics and answers every query of the dashboard with numbers."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deployment import busy_server
from tests.deployment.test_monitoring import panel_expressions
from tests.deployment.tools import program
from tests.edge.conftest import free_port

pytestmark = pytest.mark.slow


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[httpx.Client]:
    """A Prometheus that has scraped the target a few times."""
    executable = program("prometheus", "prometheus")
    job = {"job_name": "parlando", "static_configs": [{"targets": [target]}]}
    (folder / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
    port = free_port()
    process = subprocess.Popen(
        [
            executable,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wait_for_scrapes(client, 3)
            yield client
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    metrics, rounds = busy_server.metrics(), iter(range(2, 10_000))

    class Exposition(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            busy_server.move(metrics, next(rounds))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(metrics.exposition())

        def log_message(self, *_: Any) -> None:
            pass

    exposition = ThreadingHTTPServer(("127.0.0.1", 0), Exposition)
    threading.Thread(target=exposition.serve_forever, daemon=True).start()
    try:
        with scraping(f"127.0.0.1:{exposition.server_port}", tmp_path_factory.mktemp("prometheus")) as client:
            yield client
    finally:
        exposition.shutdown()
        exposition.server_close()


def wait_for_scrapes(client: httpx.Client, count: int) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            found = values(client, 'sum(count_over_time(up{job="parlando"}[1m]))')
        except httpx.TransportError:
            found = []
        if found and float(found[0]) >= count:
            return
        time.sleep(0.2)
    pytest.fail("Prometheus has not scraped within a minute")


def values(client: httpx.Client, promql: str) -> list[str]:
    answer = client.get("/api/v1/query", params={"query": promql})
    if answer.status_code == 503:
        return []  # it starts
    assert answer.status_code == 200, f"{promql}: {answer.text}"
    return [series["value"][1] for series in answer.json()["data"]["result"]]


@pytest.mark.parametrize(("title", "expression"), panel_expressions())
def test_panels_show_numbers(prometheus: httpx.Client, title: str, expression: str) -> None:
    found = values(prometheus, expression.replace("$__rate_interval", "1m"))
    assert found, f"{title}: no series"
    assert "NaN" not in found, f"{title}: {found}"
