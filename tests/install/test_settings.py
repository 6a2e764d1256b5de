"""PARLANDO_* variables: Kubernetes' own among them, misspelt ones, and ones out of range."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.errors import ConfigError
from server.settings import Settings, unknown_variables
from tests.edge.conftest import RunningServer

# What Kubernetes sets in every pod beside Services named `parlando` and `parlando-metrics`.
SERVICE_LINKS = {
    "PARLANDO_PORT": "tcp://10.0.0.1:8000",
    "PARLANDO_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "PARLANDO_PORT_8000_TCP_PROTO": "tcp",
    "PARLANDO_PORT_8000_TCP_PORT": "8000",
    "PARLANDO_PORT_8000_TCP_ADDR": "10.0.0.1",
    "PARLANDO_SERVICE_HOST": "10.0.0.1",
    "PARLANDO_SERVICE_PORT": "8000",
    "PARLANDO_SERVICE_PORT_HTTP": "8000",
    "PARLANDO_METRICS_PORT": "udp://10.0.0.2:9000",
    "PARLANDO_METRICS_PORT_9000_UDP_ADDR": "10.0.0.2",
    "PARLANDO_METRICS_SERVICE_HOST": "10.0.0.2",
    "PARLANDO_METRICS_SERVICE_PORT_SCRAPE": "9000",
}


def test_service_links_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    settings = Settings.with_flags({})
    assert (settings.port, settings.metrics_port) == (8000, None)
    assert unknown_variables() == {}
    assert Settings.with_flags({"port": 9001}).port == 9001


def test_a_port_is_still_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLANDO_PORT", "8123")
    monkeypatch.setenv("parlando_metrics_port", "8124")
    settings = Settings.with_flags({})
    assert (settings.port, settings.metrics_port) == (8123, 8124)
    assert unknown_variables() == {}


@pytest.mark.parametrize(
    ("name", "near"),
    [("PARLANDO_PROT", "PARLANDO_PORT"), ("PARLANDO_API_KEY", "PARLANDO_API_KEYS"), ("PARLANDO_QQQQ", None)],
)
def test_an_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, near: str | None) -> None:
    monkeypatch.setenv(name, "1")
    assert unknown_variables() == {name: near}


def test_what_is_out_of_range_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLANDO_SLOTS", "many")
    with pytest.raises(ConfigError) as refused:
        Settings.with_flags({"port": 70_000, "bundle": Path("here")})
    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("--port is '70000': input should be less than or equal to 65535")
    assert lines[1].startswith("PARLANDO_SLOTS is 'many': input should be a valid integer")


def test_a_server_beside_a_service_of_its_name_starts_and_warns() -> None:
    environment = {name.removeprefix("PARLANDO_"): value for name, value in SERVICE_LINKS.items()}
    with RunningServer(**environment, SLOT="4") as server:
        logged = [json.loads(line) for line in server.lines]
        assert server.stop() == 0
    warned = [one for one in logged if one["event"] == "unknown_setting"]
    assert [(one["variable"], one["did_you_mean"]) for one in warned] == [("PARLANDO_SLOT", "PARLANDO_SLOTS")]
    ready = next(one for one in logged if one["event"] == "ready")
    assert ready["device"] == "cpu"
    assert ready["kernels"]
