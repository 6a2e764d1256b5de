"""PARLANDO_* variables: Kubernetes' own among them, misspelt ones, and ones out of range."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi import FastAPI

from engines.errors import ConfigError
from engines.runtime import memory
from server.serving import listen, web_server
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


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HOST", "", "leave it out"),
        ("PRONUNCIATIONS", "", "leave it out"),
        ("API_KEYS_FILE", "", "leave it out"),
        ("ALLOWED_HOSTS", "http://a.example/", "write names"),
        ("SSL_KEYFILE", "key.pem", "ssl_keyfile needs ssl_certfile"),
        ("ENGINE_SILENCE_S", "0.5", "1.5"),
    ],
)
def test_what_would_mean_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"PARLANDO_{name}", value)
    with pytest.raises(ConfigError, match=says):
        Settings.with_flags({})


def test_two_servers_do_not_share_a_port() -> None:
    first = listen("127.0.0.1", 0)
    with first, pytest.raises(OSError, match="address already in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_too_few_files_are_refused() -> None:
    with pytest.raises(ConfigError, match="may open 64 files, which leaves 0"):
        web_server(FastAPI(), Settings(), max_files=64)


def test_a_container_has_the_memory_of_its_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "pod" / "container"
    own.mkdir(parents=True)
    (tmp_path / "group").write_text("3:cpu:/other\n0::/pod/container\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUP", tmp_path / "group")
    machine = memory.available_bytes()
    assert machine is not None
    (own / "memory.max").write_text("max\n")
    (own / "memory.current").write_text("5000\n")
    assert memory.available_bytes() == pytest.approx(machine, rel=0.2)
    (own.parent / "memory.max").write_text("1000000\n")
    (own.parent / "memory.current").write_text("700000\n")
    (own.parent / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    assert memory.available_bytes() == 500_000
    assert memory.slots_by_memory(128, 50_000) == 5
