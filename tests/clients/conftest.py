"""A server in its own environment and the makers' clients in theirs; nothing is collected where these are missing.

The variable SERVER_PYTHON names the interpreter that runs the server.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_MISSING = [name for name in ("openai", "elevenlabs", "livekit", "pipecat") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if _MISSING else []

TEXT = "An unmodified client speaks here, and everything it says is heard."


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


def _serve(*flags: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    python = os.environ.get("SERVER_PYTHON", sys.executable)
    command = [python, "-m", "server", "serve", "--port", str(port), *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if '"event": "ready"' in line:
            break
    else:
        raise AssertionError(f"the server did not start: {''.join(seen)}")
    yield port
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    for port in _serve():
        yield Server(port=port)


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a certificate made here, trusted through the variable that OpenSSL reads."""
    import trustme

    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for place, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(str(folder / "chain.pem"), append=place > 0)
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    for port in _serve("--ssl-certfile", str(folder / "chain.pem"), "--ssl-keyfile", str(folder / "key.pem")):
        yield Server(port=port, scheme="https")
    if before is None:
        del os.environ["SSL_CERT_FILE"]
    else:
        os.environ["SSL_CERT_FILE"] = before
