"""The CPU image is built from a base of Debian's packages, and speaks on a read-only root as a user without rights.

`make test-deploy` and `make test-image` run it: some minutes, root, the package index and Debian's mirror. The base is
kept between runs.
`TEST_IMAGE=NAME` looks at an image that was built before.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtests import leash
from tests.deployment.tools import DEPLOY, program
from tests.edge.conftest import free_port

ROOT = DEPLOY.parent
STORE = Path(os.environ.get("PARLANDO_IMAGE_STORE", Path.home() / ".cache/parlando/image"))
IMAGE = "localhost/parlando:test"
BASE_PACKAGES = "python3,python3-venv,ca-certificates,tini"
SOURCES = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
PASSED_IN = [Path("/etc/pip.conf"), Path("/etc/ssl/certs")]  # how this machine reaches the package index
# In a mount namespace of its own, so that nothing stays mounted.
START = """
mount --bind {root} {root} && mount -o remount,ro,bind {root} \
&& mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev \
&& exec chroot --userspec={user} {root} env -i {environment} {command}
"""
pytestmark = [
    pytest.mark.skipif(os.environ.get("TEST_IMAGE") is None, reason="takes minutes; `make test-deploy` runs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.slow,
    pytest.mark.timeout(800),
]


def buildah(*arguments: object) -> str:
    stores = ("--root", STORE / "storage", "--runroot", STORE / "run", "--storage-driver", "vfs")
    return run(program("buildah", "buildah"), *stores, *arguments)


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=1_200)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return done.stdout.strip()


def made_base() -> str:
    name, tar = "localhost/parlando-base", STORE / "base.tar"
    STORE.mkdir(parents=True, exist_ok=True)
    if not tar.exists():
        sources = next((path for path in SOURCES if path.exists() and path.read_text().strip()), None)
        made = tar.with_suffix(".new.tar")
        include = f"--include={BASE_PACKAGES}"
        where = () if sources is None else (sources,)
        run(program("mmdebstrap", "mmdebstrap"), "--variant=minbase", include, "bookworm", made, *where)
        made.rename(tar)
    container = buildah("from", "scratch")
    buildah("add", "-q", container, tar, "/")
    buildah("commit", "-q", "--rm", container, name)
    return name


@pytest.fixture(scope="module")
def image() -> str:
    for name in ("buildah", "mmdebstrap"):
        program(name, name)
    asked = os.environ["TEST_IMAGE"]
    if asked != "1":
        return asked
    volumes = [f"--volume={path}:{path}:ro" for path in PASSED_IN if path.exists()]
    file = DEPLOY / "docker/Dockerfile"
    how = ("--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE_IMAGE={made_base()}")
    buildah("build", *how, *volumes, "-f", file, "-t", IMAGE, ROOT)
    return IMAGE


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Path]:
    name = buildah("from", image)
    yield Path(buildah("mount", name))
    buildah("rm", name)


def configuration(image: str) -> Any:
    return json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]


def start_command(container: Path, config: Any, port: str) -> list[str]:
    """On a read-only root, as the image's user. `port` may be a place for one."""
    environment = [*config["Env"], f"PARLANDO_PORT={port}", "PARLANDO_HOST=127.0.0.1", "PARLANDO_SHED=false"]
    environment.append("TINI_SUBREAPER=1")  # it is no first process here
    start = START.format(
        root=shlex.quote(str(container)),
        user=config["User"],
        environment=" ".join(map(shlex.quote, environment)),
        command=shlex.join([*config["Entrypoint"], *config["Cmd"]]),
    )
    return ["unshare", "--mount", "sh", "-ec", start]


def test_the_image_holds_no_compiler_and_no_torch(container: Path, image: str) -> None:
    here = {path.name for path in (container / "opt/parlando/lib").rglob("*") if path.is_dir()}
    assert "onnxruntime" in here
    assert not here & {"torch", "pip", "setuptools"}
    assert not list((container / "usr/bin").glob("*gcc*"))
    assert configuration(image)["Healthcheck"]["Test"][0] == "CMD"


def test_the_image_speaks_on_a_read_only_root_as_a_user_without_rights(container: Path, image: str) -> None:
    config, port = configuration(image), free_port()
    assert config["User"] == "10001:10001"
    began_s = time.monotonic()
    process = leash.start(start_command(container, config, str(port)), stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await_ready(client, process)
            answer = client.post("/v1/audio/speech", json={"input": "Out of the box.", "response_format": "pcm"})
            print(f"first audio {time.monotonic() - began_s:.2f} s after the start")
            assert answer.status_code == 200
            samples = memoryview(answer.content).cast("h")
            assert max(samples) > 3_000, "it is silent"
            assert "tts_own_kernels 1.0" in client.get("/metrics").text
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.stderr is not None
    with process.stderr as log:
        for line in log:
            json.loads(line)  # nothing but our own lines: no library complains about the root


def await_ready(client: httpx.Client, process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("it is never ready")
