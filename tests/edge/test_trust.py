"""Promises kept by a running server with the shipped voice: positions, names of utterances, drains, metrics."""

from __future__ import annotations

import random
import signal
import socket as sockets
import time
from itertools import pairwise

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from server.serving import listen
from tests.edge.conftest import RunningServer, free_port
from tests.edge.test_ws import dial, hear, say

TEXT = "Hello there, Dr. Smith; the 3 answers (1, 2 and 42%) cost $12.50 in all!  Then 😀 we   go on, and on. "


@pytest.mark.parametrize("seed", range(6))
def test_a_cancel_at_a_random_moment_confirms_what_was_heard(server: RunningServer, seed: int) -> None:
    draw = random.Random(seed)
    text = TEXT * draw.randint(1, 4)
    played_ms = draw.choice([None, draw.uniform(0, 6_000)])
    with dial(server) as socket:
        say(socket, type="start", seed=seed)
        say(socket, type="append", text=text)
        pcm, words, chunks = b"", [], draw.randint(0, 40)
        while chunks and len(pcm) < 48_000 * 12:
            heard, events = hear(socket, "words", "waiting_for_text")
            pcm += heard
            words += [word for event in events for word in event.get("words", [])]
            chunks -= 1
            if events[-1]["type"] == "waiting_for_text":
                break
        say(socket, type="cancel", **({} if played_ms is None else {"played_ms": played_ms}))
        say(socket, type="append", text="Next.")
        rest, events = hear(socket, "cancelled")
        pcm += rest
        words += [word for event in events for word in event.get("words", [])]
        told = events[-1]
        assert told["sent_ms"] == pytest.approx(len(pcm) / 48, abs=0.01)
        assert told["audio_ms"] <= told["sent_ms"]
        if played_ms is not None:
            assert told["audio_ms"] == pytest.approx(min(played_ms, told["sent_ms"]), abs=0.01)
        assert told["text_spoken"] + told["text_remaining"] == text
        ended = [word["end_char"] for word in words if 1000 * word["end_s"] <= told["audio_ms"] + 1e-3]
        assert told["text_spoken"] == text[: ended[-1] if ended else 0]
        for before, after in pairwise(words):
            assert before["start_s"] <= before["end_s"] <= after["start_s"]
            assert before["start_char"] < before["end_char"] <= after["start_char"]
        assert all(word["text"] == text[word["start_char"] : word["end_char"]] for word in words)
        heard, events = hear(socket, "started", "done")
        assert (heard, events[0]["type"]) == (b"", "started")


def speech_and_name(server: RunningServer) -> tuple[bytes, str]:
    with dial(server) as socket:
        say(socket, type="start", seed=11)
        say(socket, type="append", text=TEXT)
        say(socket, type="end")
        pcm, events = hear(socket, "done")
        return pcm, events[-1]["id"]


def test_the_same_name_is_the_same_speech_after_a_restart(server: RunningServer) -> None:
    before = speech_and_name(server)
    with RunningServer() as other:
        assert speech_and_name(other) == before
        assert other.stop() == 0


def test_a_drain_closes_idle_sockets_and_refuses_the_new() -> None:
    with RunningServer() as server, dial(server) as idle, dial(server) as live:
        say(live, type="append", text="This one may go on until it has been spoken to its end, ")
        hear(live, "started")
        server.process.send_signal(signal.SIGTERM)
        _, events = hear(idle, "error")
        assert events[-1]["code"] == "draining"
        with pytest.raises(ConnectionClosed) as closed:
            idle.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        answer = httpx.post(f"{server.url}/v1/audio/speech", json={"input": "too late"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{server.url}/ready").json() == {"status": "draining"}
        say(live, type="append", text="although the server was asked to stop.")
        say(live, type="end")
        _, events = hear(live, "done")
        assert events[-1]["audio_ms"] > 1_000
        server.process.wait(timeout=30)
        assert server.process.returncode == 0


def test_a_drain_has_a_deadline() -> None:
    with RunningServer(drain_s="0.2") as server, dial(server) as endless:
        say(endless, type="append", text="Never finished ")
        hear(endless, "started")
        begun_s = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun_s < 10


def test_metrics_have_a_port_of_their_own_when_asked() -> None:
    port = free_port()
    with RunningServer(metrics_port=str(port)) as server:
        with dial(server) as socket:
            say(socket, type="append", text="Count me.")
            say(socket, type="end")
            hear(socket, "done")
        assert httpx.get(f"{server.url}/metrics").status_code == 404
        figures = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        for name in (
            "tts_time_to_first_audio_seconds_count",
            "tts_request_queue_seconds_count 1.0",
            "tts_inter_chunk_seconds_count",
            "tts_real_time_factor_count 1.0",
            "tts_playback_lead_seconds_count",
            "tts_stream_underruns_total",
            "tts_underrun_seconds_total",
            "tts_audio_seconds_total",
            "tts_streams_active 0.0",
            "tts_requests_running",
            "tts_requests_waiting",
            "tts_own_kernels",
            "tts_engine_up 1.0",
            'tts_requests_total{outcome="ok",protocol="parlando.v1"} 1.0',
            'tts_engine_events_total{event="lm_rows"}',
            "tts_engine_info{",
        ):
            assert name in figures, name
        assert server.stop() == 0


def test_the_listening_socket_frees_dead_peers() -> None:
    """Accepted sockets inherit all of it."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with sockets.create_connection(listener.getsockname()) as _, listener.accept()[0] as accepted:
            tcp = sockets.IPPROTO_TCP
            assert accepted.getsockopt(tcp, sockets.TCP_USER_TIMEOUT) <= 15_000
            assert accepted.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE) == 1
            probes = accepted.getsockopt(tcp, sockets.TCP_KEEPINTVL) * accepted.getsockopt(tcp, sockets.TCP_KEEPCNT)
            assert accepted.getsockopt(tcp, sockets.TCP_KEEPIDLE) + probes <= 15
            assert accepted.getsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF) <= 2 * 65_536
