"""The server as the operating system sees it: started or found, asked for CPU seconds and memory, stopped.

One that is started ends with the harness, however that ends.

Only /proc, the /ready page and the name of its model are looked at. A server that the harness starts gets a lower
priority where the generator's own cannot be raised.
"""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from loadtests import leash, priority

_READY_S = 120.0
_POLL_S = 0.1
_STOP_S = 30.0


class ServerTrouble(RuntimeError):
    """It did not start, or it is not to be found."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Server:
    """`pid` None: a server on another machine; there is no CPU or memory to read."""

    url: str  # http://host:port
    pid: int | None
    process: subprocess.Popen[bytes] | None = None

    @property
    def ws_url(self) -> str:
        return "ws" + self.url.removeprefix("http")

    def model(self) -> str:
        """The first of its list; `unknown` where it shows none without a key."""
        try:
            with urllib.request.urlopen(f"{self.url}/v1/models", timeout=5) as answer:
                return str(json.load(answer)["data"][0]["id"])
        except (urllib.error.URLError, OSError, ValueError, LookupError):
            return "unknown"

    def cpu_s(self) -> float | None:
        """User and system seconds of the whole process tree since it started."""
        if self.pid is None:
            return None
        return float(sum(sum(one.cpu_times()[:2]) for one in self._processes()))

    def rss_bytes(self) -> int | None:
        """Resident memory of the whole tree; pages that processes share count in each."""
        if self.pid is None:
            return None
        return int(sum(one.memory_info().rss for one in self._processes()))

    def stop(self) -> None:
        """Ends a server that this harness started; leaves any other alone."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _processes(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess as error:
            raise ServerTrouble(f"the server (pid {self.pid}) is gone") from error


def machine_cpu_s() -> float:
    """Busy seconds of all cores since the machine started, those that a hypervisor gave to others included."""
    times = psutil.cpu_times()
    idle_s = (
        times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    )
    return float(sum(times) - idle_s)


def start(command: str | None, port: int | None, log: Path, lower: bool) -> Server:
    """Starts a server and waits until it is ready. `command` may name {port}; without it this checkout is served."""
    port = port or free_port()
    words = shlex.split(command.format(port=port)) if command else [sys.executable, "-m", "server", "serve"]
    if not command:
        words += ["--host", "127.0.0.1", "--port", str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = leash.start(words, stdout=output, stderr=subprocess.STDOUT)
    server = Server(url=f"http://127.0.0.1:{port}", pid=process.pid, process=process)
    try:
        if lower:
            priority.lower(process.pid)
        _await_ready(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def attach(url: str, pid: int | None) -> Server:
    """A server that runs already. Its process is found by its port if it is on this machine."""
    url = url.rstrip("/").replace("ws://", "http://", 1)
    where = urlsplit(url)
    if where.scheme != "http" or where.hostname is None or where.port is None:
        raise ServerTrouble(f"{url!r} is no http://host:port")
    if pid is None and where.hostname in ("127.0.0.1", "localhost", "::1"):
        pid = _listening_pid(where.port)
    server = Server(url=url, pid=pid)
    _await_ready(server, None)
    return server


def _listening_pid(port: int) -> int | None:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    found = [one.pid for one in connections if one.status == psutil.CONN_LISTEN and one.laddr[1] == port and one.pid]
    return min(found, default=None)


def _await_ready(server: Server, log: Path | None) -> None:
    """Polls /ready: a stranger has no other way to know."""
    until_s = time.monotonic() + _READY_S
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            reason = error
        if server.process is not None and server.process.poll() is not None:
            raise ServerTrouble(f"the server ended with {server.process.returncode}; see {log}")
        if time.monotonic() > until_s:
            raise ServerTrouble(f"{server.url} was not ready after {_READY_S:g} s: {reason}; see {log}")
        time.sleep(_POLL_S)
