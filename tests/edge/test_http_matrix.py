"""HTTP as clients speak it, byte by byte: versions, kept connections, upgrades, expectations, in every dialect."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest

from server.audio import wav_header
from tests.edge.toy import word_pcm
from tests.edge.toy_server import ToyServer, answer, heard

TEXT = "one two"
PCM = word_pcm("one") + word_pcm("two")
OPENAI, ELEVEN = "/v1/audio/speech", "/v1/text-to-speech/rms"
SPEECH = {  # path: body
    OPENAI: {"input": TEXT, "response_format": "pcm"},
    f"{ELEVEN}?output_format=pcm_24000": {"text": TEXT},
    f"{ELEVEN}/stream?output_format=pcm_24000": {"text": TEXT},
}
WAV = {
    OPENAI: {"input": TEXT, "response_format": "wav"},
    f"{ELEVEN}?output_format=wav_24000": {"text": TEXT},
    f"{ELEVEN}/stream?output_format=wav_24000": {"text": TEXT},
}
TIMED = [
    f"{ELEVEN}/with-timestamps?output_format=pcm_24000",
    f"{ELEVEN}/stream/with-timestamps?output_format=pcm_24000",
]
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
UPGRADES = (H2C, H2C, "", *(f"Connection: Upgrade\r\nUpgrade: {other}\r\n" for other in ("tls/1.0", "websocket")))


@pytest.fixture(scope="module")
def server() -> Iterator[ToyServer]:
    with ToyServer() as running:
        yield running


@pytest.fixture
def connection(server: ToyServer) -> Iterator[socket]:
    with server.dial() as one:
        yield one


def post(path: str, body: object, fields: str = "", version: str = "1.1") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n{fields}\r\n"
    return head.encode() + content


@pytest.mark.parametrize("path", SPEECH)
def test_kept_connections_serve_one_request_after_another(connection: socket, path: str) -> None:
    for _ in range(3):
        connection.sendall(post(path, SPEECH[path]))
        status, headers, body = answer(connection)
        assert (status, body) == (b"HTTP/1.1 200 OK", PCM)
        assert headers[b"transfer-encoding"] == b"chunked"


@pytest.mark.parametrize("path", SPEECH)
def test_an_upgrade_that_is_not_taken_changes_nothing(connection: socket, path: str) -> None:
    """As Java's client and `curl --http2` ask."""
    for fields in UPGRADES:
        connection.sendall(post(path, SPEECH[path], fields))
        status, _, body = answer(connection)
        assert (status, body) == (b"HTTP/1.1 200 OK", PCM)


@pytest.mark.parametrize("path", SPEECH)
def test_http_1_0_gets_a_length_and_no_chunks(server: ToyServer, path: str) -> None:
    for fields in ("", "Connection: keep-alive\r\n"):
        head, _, body = server.ask(post(path, SPEECH[path], fields, version="1.0")).partition(b"\r\n\r\n")
        assert body == PCM
        assert b"chunked" not in head
        assert b"content-length: %d" % len(PCM) in head.lower()


def test_http_1_0_needs_no_host(server: ToyServer) -> None:
    assert server.ask(b"GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("path", WAV)
def test_a_wav_has_true_sizes_where_its_client_needs_them(server: ToyServer, connection: socket, path: str) -> None:
    true, unknown = wav_header(24_000, len(PCM)), wav_header(24_000)
    received = server.ask(post(path, WAV[path], version="1.0"))
    assert received.partition(b"\r\n\r\n")[2] == true + PCM
    connection.sendall(post(path, WAV[path], "Range: bytes=0-\r\n"))
    assert answer(connection)[2] == true + PCM
    connection.sendall(post(path, WAV[path]))
    assert answer(connection)[2] == unknown + PCM


def test_a_range_of_a_url(connection: socket) -> None:
    get = (
        b"GET /v1/audio/speech?input=one+two&response_format=wav HTTP/1.1\r\nHost: localhost\r\nRange: bytes=%s\r\n\r\n"
    )
    size = 44 + len(PCM)
    for asked, status, told in (
        (b"0-43", b"206", b"bytes 0-43/%d" % size),
        (b"44-", b"206", b"bytes 44-%d/%d" % (size - 1, size)),
        (b"%d-" % size, b"416", b"bytes */%d" % size),
    ):
        connection.sendall(get % asked)
        line, headers, body = answer(connection)
        assert (line.split()[1], headers[b"content-range"]) == (status, told)
        if asked == b"44-":
            assert body == PCM


@pytest.mark.parametrize("path", [*SPEECH, OPENAI + "/none"])
def test_a_body_that_waits_to_be_asked_for(connection: socket, path: str) -> None:
    head, _, content = post(path, SPEECH.get(path, {}), "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    assert answer(connection)[0] == b"HTTP/1.1 100 Continue"
    connection.sendall(content)
    status, _, body = answer(connection)
    assert (status, body == PCM) == (
        (b"HTTP/1.1 200 OK", True) if path in SPEECH else (b"HTTP/1.1 404 Not Found", False)
    )


def test_a_body_that_is_too_big_is_not_asked_for(server: ToyServer) -> None:
    head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n"
    with server.dial() as connection:
        connection.sendall(head + b"\r\n")
        assert answer(connection)[0].startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", SPEECH)
def test_chunked_bodies_and_bodies_byte_by_byte(connection: socket, path: str) -> None:
    content = json.dumps(SPEECH[path]).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:7], content[7:])) + b"0\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    connection.sendall(head + chunks)
    assert answer(connection)[2] == PCM
    for byte in post(path, SPEECH[path]):
        connection.sendall(bytes([byte]))
    assert answer(connection)[2] == PCM


def test_pipelined_requests_are_answered_in_order(server: ToyServer) -> None:
    first, second = {"input": "one", "response_format": "pcm"}, {"input": "two", "response_format": "pcm"}
    received = server.ask(post(OPENAI, first) + post(OPENAI, second, "Connection: close\r\n"))
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.index(word_pcm("one")[:2_000]) < received.index(word_pcm("two")[:2_000])


@pytest.mark.parametrize("path", TIMED)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_json_with_times(server: ToyServer, path: str, version: str) -> None:
    received = server.ask(post(path, {"text": TEXT}, "Connection: close\r\n", version))
    assert b"audio_base64" in received
    assert (b"chunked" in received) == (version == "1.1")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_events(server: ToyServer, version: str) -> None:
    received = server.ask(post(OPENAI, {"input": TEXT, "stream_format": "sse"}, "Connection: close\r\n", version))
    assert b'"speech.audio.done"' in received
    assert (b"chunked" in received) == (version == "1.1")


def test_half_a_head_behind_a_request_waits_for_its_other_half(server: ToyServer) -> None:
    with server.dial() as connection:
        connection.sendall(post(OPENAI, SPEECH[OPENAI]) + b"GET ")
        assert answer(connection)[0] == b"HTTP/1.1 200 OK"
        connection.sendall(b"/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in heard(connection)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("flag", ["--http2", "--http1.0", "--http1.1"])
def test_curl(server: ToyServer, flag: str) -> None:
    command = ["curl", "-sS", flag, "--max-time", "20", "-d", json.dumps(SPEECH[OPENAI])]
    done = subprocess.run([*command, f"http://127.0.0.1:{server.port}{OPENAI}"], capture_output=True, timeout=30)
    assert (done.stderr, done.stdout) == (b"", PCM)


def _java() -> str | None:
    """Why Java's client cannot be tried: it is started from its source, which needs the compiler's module."""
    if shutil.which("java") is None:
        return "needs a Java runtime: Debian's default-jre-headless"
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, timeout=60).stdout
    return None if "jdk.compiler" in modules else "needs the module jdk.compiler: Debian's default-jdk-headless"


def test_javas_client(server: ToyServer) -> None:
    if (missing := _java()) is not None:
        pytest.skip(missing)
    source = Path(__file__).with_name("SpeechClient.java")
    command = ["java", "-XX:TieredStopAtLevel=1", str(source), f"127.0.0.1:{server.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["POST", "200", str(len(PCM)), "GET", "200", str(44 + len(PCM)), "WS", str(len(PCM))]
