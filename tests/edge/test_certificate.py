"""A new certificate is served without a restart; open connections stay, and half a rotation changes nothing."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.edge.conftest import RunningServer, free_port


def make(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of its own, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here; Debian's package brings it")
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    pair = ["-keyout", str(key), "-out", str(certificate)]
    how = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
    subprocess.run(["openssl", "req", *how, *pair], check=True, capture_output=True)
    return certificate, key


def served(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))


def await_served(port: int, certificate: Path) -> None:
    deadline_s = time.monotonic() + 60
    while served(port) != ssl.PEM_cert_to_DER_cert(certificate.read_text()):
        assert time.monotonic() < deadline_s, "it still serves the old one"
        time.sleep(0.05)


def test_a_certificate_that_changes_is_served(tmp_path: Path) -> None:
    old, new = make(tmp_path, "old"), make(tmp_path, "new")
    pair = tmp_path / "tls.crt", tmp_path / "tls.key"
    for source, target in zip(old, pair, strict=True):
        shutil.copy(source, target)
    port = free_port()
    with RunningServer(port=port, ssl_certfile=str(pair[0]), ssl_keyfile=str(pair[1])) as server:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False) as client:
            assert client.get("/health").status_code == 200
            await_served(port, old[0])
            shutil.copy(new[0], pair[0])
            server.await_event("certificate_not_read")
            await_served(port, old[0])
            shutil.copy(new[1], pair[1])
            await_served(port, new[0])
            assert client.get("/health").status_code == 200
        assert server.stop() == 0
