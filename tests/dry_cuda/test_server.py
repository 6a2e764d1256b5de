"""`parlando serve --device cuda` on the emulated device, as clients see it, for every family."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnx")
openai = pytest.importorskip("openai")
from websockets.sync.client import connect

from tests.dry_cuda.conftest import IS_DRY
from tests.dry_cuda.spoken import FAMILIES, Spoken

ROOT, RATE_HZ = Path(__file__).resolve().parents[2], 24_000


class Server:
    def __init__(self, spoken: Spoken, port: int, log: Path) -> None:
        self._spoken, self._log, self._read = spoken, log, 0
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--slots", "4", "--device", "cuda"]
        command += ["--gpu-form", str(spoken.form), "--bundle", str(spoken.bundle.folder)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).with_name("emulated"))}
        with log.open("w") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)

    def ready(self) -> dict[str, object]:
        """Waits for the next `ready` line."""
        while self.process.poll() is None:
            lines = self._log.read_text().splitlines()
            found = [json.loads(line) for line in lines if '"event": "ready"' in line]
            if len(found) > self._read:
                self._read += 1
                return dict(found[self._read - 1])
            time.sleep(0.2)
        raise AssertionError(self._log.read_text()[-2000:])

    def engines(self) -> list[int]:
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [child for thread in threads for child in thread.read_text().split()]
        return [int(one) for one in children if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()]

    def speech(self) -> bytes:
        """By the makers' client."""
        with openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", timeout=120) as client:
            answer = client.audio.speech.create(
                model=self._spoken.bundle.name,
                voice=self._spoken.voice,
                input=self._spoken.text,
                response_format="pcm",
                extra_body={"seed": 1},
            )
            return bytes(answer.content)

    def words(self) -> bytes:
        """Over a WebSocket, word by word."""
        pcm = b""
        with connect(f"ws{self.url.removeprefix('http')}/v1/audio/speech/ws") as socket:
            start = {"type": "start", "voice": self._spoken.voice, "seed": 1, "sample_rate": RATE_HZ}
            words = [{"type": "append", "text": word} for word in re.findall(r"\S+\s*", self._spoken.text)]
            for message in (start, *words, {"type": "end"}):
                socket.send(json.dumps(message))
            while True:
                answer = socket.recv(timeout=120)
                if isinstance(answer, bytes):
                    pcm += answer
                elif json.loads(answer)["type"] != "done":
                    assert json.loads(answer)["type"] != "error", answer
                else:
                    return pcm


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda one: one.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not IS_DRY:
        pytest.skip("the pretended CUDA libraries are not loaded here; `make test-gpu-dry` runs this")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Server(request.param, port, tmp_path_factory.mktemp("server") / "log")
    yield made
    made.process.terminate()
    made.process.wait(60)


@pytest.mark.timeout(900)
def test_the_device_serves_and_after_a_kill_captures_again(server: Server) -> None:
    assert server.ready()["device"] == "cuda:0"
    first = server.speech()
    assert len(first) > 16_000
    assert server.words() == first
    (engine,) = server.engines()
    os.kill(engine, signal.SIGKILL)
    assert server.ready()["device"] == "cuda:0"
    assert server.speech() == first
