"""A server in its own environment and the makers' clients in theirs; nothing is collected where these are missing.

The variable SERVER_PYTHON names the interpreter that runs the server. The server has a seed for those who can give
none, so what every client hears can be compared with the native output.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from loadtests import leash
from tests.audio.signals import delay

_MISSING = [
    name
    for name in ("cartesia", "deepgram", "elevenlabs", "livekit", "openai", "pipecat", "wyoming")
    if importlib.util.find_spec(name) is None
]
collect_ignore_glob = ["test_*.py"] if _MISSING else []

SEED = 2
TEXT = "An unmodified client speaks here, and everything it says is heard."
ENTRIES = [{"word": "client", "say": "customer"}]  # the stored dictionary `names`
RESPELT = TEXT.replace("client", "customer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    port: int
    scheme: str = "http"
    wyoming_port: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


def native(server: Server, text: str = TEXT, voice: str = "rms", rate_hz: int = 24_000) -> bytes:
    """The utterance as `parlando.v1` speaks it: s16le."""
    parts = []
    address = f"ws://localhost:{server.port}/v1/audio/speech/ws"
    with connect(address, subprotocols=[Subprotocol("parlando.v1")], compression=None) as socket:
        for message in (
            {"type": "start", "voice": voice, "seed": SEED, "sample_rate": rate_hz},
            {"type": "append", "text": text},
            {"type": "end"},
        ):
            socket.send(json.dumps(message))
        for message in socket:
            if isinstance(message, bytes):
                parts.append(message)
            elif json.loads(message)["type"] == "done":
                break
    return b"".join(parts)


def likeness(heard: NDArray[np.float64], wanted: bytes) -> float:
    """Correlation of decoded audio with native samples at the same rate, apart from the codec's delay."""
    samples = np.frombuffer(wanted, "<i2").astype(np.float64)
    heard = heard[delay(heard, samples) :]
    count = min(len(heard), len(samples))
    assert count >= 0.99 * len(samples), f"{count} of {len(samples)} samples came"
    return float(np.corrcoef(heard[:count], samples[:count])[0, 1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(*flags: str) -> Iterator[int]:
    port = _free_port()
    python = os.environ.get("SERVER_PYTHON", sys.executable)
    command = [python, "-m", "server", "serve", "--port", str(port), *flags]
    # No request is refused because the machine is busy.
    settings = {"PARLANDO_SEED": str(SEED), "PARLANDO_SHED": "false", "PARLANDO_BUNDLE": "flite"}
    process = leash.start(command, stderr=subprocess.PIPE, text=True, env=os.environ | settings)
    ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(target=_read_log, args=(process, ready), daemon=True).start()
    try:
        assert ready.get(timeout=120), "the server ended before it was ready"
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _read_log(process: subprocess.Popen[str], ready: queue.SimpleQueue[bool]) -> None:
    """To its end: a pipe that fills stops the server."""
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if '"event": "ready"' in line:
                ready.put(True)
    ready.put(False)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("pronunciations")
    (folder / "names.json").write_text(json.dumps({"entries": ENTRIES}))
    wyoming_port = _free_port()
    for port in _serve("--pronunciations", str(folder), "--wyoming-port", str(wyoming_port)):
        yield Server(port=port, wyoming_port=wyoming_port)


@pytest.fixture(scope="session")
def natural_server() -> Iterator[Server]:
    """As a user starts it: with the voice that is the default."""
    wyoming_port = _free_port()
    for port in _serve("--bundle", "natural", "--wyoming-port", str(wyoming_port)):
        yield Server(port=port, wyoming_port=wyoming_port)


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
