"""Request heads and framing meant to cost the server more than they cost the sender, or to be read in two ways."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.attacks.sockets import dial, send_all
from tests.attacks.victim import Victim, spared
from tests.edge.conftest import RunningServer
from tests.edge.toy_server import ToyServer, answer, heard

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\n"
MEGABYTE = 2**20


def refusal(received: bytes) -> tuple[int, str]:
    """Status, and what the error says."""
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "head",
    [GET + b"X: " + b"x" * 32 * MEGABYTE, GET + b"X: x\r\n" * MEGABYTE, GET + b"X: x\r\n x\r\n" * MEGABYTE],
    ids=["one field", "many fields", "folds"],
)
def test_a_head_without_end(server: RunningServer, victim: Victim, head: bytes) -> None:
    with dial(server) as connection:
        send_all(connection, head)
        received = heard(connection)
    if received:  # what is still on its way when the server closes may take the answer along
        status, says = refusal(received)
        assert status in (400, 431)
        assert "head" in says


def test_heads_at_their_limits() -> None:
    with ToyServer() as server:
        field = b"X-Long: " + b"x" * (65_536 - len(GET) - 12) + b"\r\n\r\n"
        assert server.ask(GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        with server.dial() as connection:
            connection.sendall(GET + field)
            assert answer(connection)[0].startswith(b"HTTP/1.1 200 ")
            connection.sendall(GET + b"X: x\r\n" * 99 + b"\r\n")
            assert answer(connection)[0].startswith(b"HTTP/1.1 200 ")
        for too_much in (GET + b"x" + field, GET + b"X: x\r\n" * 100 + b"\r\n"):
            status, says = refusal(server.ask(too_much))
            assert (status, says) == (431, "the head of a request is at most 65536 bytes and 100 fields")


def test_the_second_of_two_pipelined_heads_has_the_same_limits() -> None:
    with ToyServer() as server:
        received = server.ask(GET + b"\r\n" + GET + b"X: x\r\n" * 5_000 + b"\r\n")
        assert received.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 431 " in received


@pytest.mark.parametrize(
    ("request_bytes", "says"),
    [
        (GET.replace(b"\r", b"") + b"\n", "lines end with CR LF"),
        (b"GET /health HTTP/1.1\nHost: localhost\r\n\r\n", "lines end with CR LF"),
        (GET + b"X: a\rb\r\n\r\n", "lines end with CR LF"),
        (GET + b"X: a\r\n b\r\n\r\n", "none begins with a blank"),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "either Content-Length or"),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "from HTTP/1.1 on"),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "conflicting Content-Length"),
        (POST + b"Content-Length: +2\r\n\r\n{}", "bad Content-Length"),
        (POST + b"Content-Length : 2\r\n\r\n{}", "illegal header line"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", "illegal chunk header"),
        (GET + b"Host: elsewhere\r\n\r\n", "Host"),
        (b"GET /health HTTP/1.1\r\n\r\n", "Host"),
        (b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", "use HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "use HTTP/1.1"),
        (b"GET /health\r\n\r\n", "illegal request line"),
        (GET + b"X: a\0b\r\n\r\n", "illegal header line"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "illegal request line"),
    ],
)
def test_what_two_readers_may_read_differently_is_refused(request_bytes: bytes, says: str) -> None:
    with ToyServer() as server:
        status, message = refusal(server.ask(request_bytes))
    assert status in (400, 501)
    assert says in message


def test_nothing_behind_the_last_request_is_read() -> None:
    body = b'{"input": "one two", "response_format": "pcm"}'
    request = POST + b"Content-Length: %d\r\n" % len(body)
    with ToyServer() as server:
        for last in (request.replace(b"1.1", b"1.0"), request + b"Connection: close\r\n"):
            received = server.ask(last + b"\r\n" + body + b"\r\n" + GET + b"\r\n")
            assert received.startswith(b"HTTP/1.1 200 ")
            assert received.count(b"HTTP/1.1 ") == 1


def test_blank_lines_before_a_request_say_nothing() -> None:
    with ToyServer() as server, server.dial() as connection:
        for _ in range(2):
            connection.sendall(b"\r\n\r\n" + GET + b"\r\n")
            assert answer(connection)[0].startswith(b"HTTP/1.1 200 ")


def test_a_body_in_tiny_pieces(server: RunningServer, victim: Victim) -> None:
    with dial(server) as connection:
        send_all(connection, POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000)
        received = heard(connection)
    if received:
        status, says = refusal(received)
        assert status == 400
        assert "more than 1024 pieces of less than 64 bytes" in says


def test_a_chunk_header_without_end(server: RunningServer, victim: Victim) -> None:
    with dial(server) as connection:
        send_all(connection, POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 8 * MEGABYTE)
        heard(connection)


def test_heads_that_dribble_are_cut_on_kept_connections_too() -> None:
    with RunningServer(body_timeout_s="0.5") as server, spared(server):
        for begun in (GET[:9], b"\r\n"):
            with dial(server) as connection:
                connection.sendall(GET + b"\r\n")
                assert answer(connection)[0].startswith(b"HTTP/1.1 200 ")
                connection.sendall(begun)
                received = heard(connection)  # comes to an end
            assert not received or refusal(received)[0] == 408


def test_a_body_of_a_request_that_was_answered_does_not_hold_its_connection() -> None:
    with RunningServer(body_timeout_s="0.5") as server, spared(server), dial(server) as connection:
        connection.sendall(GET + b"Content-Length: 1000000000\r\n\r\n")
        heard(connection)


def test_silent_connections_keep_no_client_out() -> None:
    with RunningServer(max_connections="32") as server, spared(server):
        silent = [dial(server) for _ in range(300)]
        try:
            for connection in silent:
                connection.__enter__()
            for path in ("/health", "/ready", "/metrics", "/v1/audio/voices"):
                assert httpx.get(server.url + path).status_code == 200
        finally:
            for connection in silent:
                connection.__exit__(None, None, None)


def test_pipelined_requests_are_answered_in_turn(server: RunningServer, victim: Victim) -> None:
    many = 3_000
    with dial(server) as connection:
        connection.sendall((GET + b"\r\n") * (many - 1) + GET + b"Connection: close\r\n\r\n")
        assert heard(connection).count(b"HTTP/1.1 200 ") == many
