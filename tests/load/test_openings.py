"""The bench of openings: its sentences, its HTTP client against a socket, and what speaks against a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.uri import parse_uri

from loadtests import openings
from loadtests.arrivals import Planned
from loadtests.client_http import HttpListener
from loadtests.openings import Limits, Opening, Openings, sentences
from loadtests.recording import RATE_HZ, End
from loadtests.results import StreamResult, judge
from loadtests.summary import Percentiles
from loadtests.texts import Feeding, Kind, Text
from tests.load.toy_server import SILENCE_S, speech

CONSONANTS = "p b t d k g ch jh m n l r w y f v th dh s z sh hh"
VOWELS = "aa ae ah ao aw ay eh er ey ih iy ow oy uw"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def test_two_hundred_sentences_open_with_every_sound() -> None:
    found = sentences()
    assert len(found) == len({one.text for one in found}) == 200
    assert {one.sounds.split()[0] for one in found} == {*CONSONANTS.split(), *VOWELS.split()}
    assert 30 <= sum(one.is_soft for one in found) <= 60


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def ask(answer: Answer, text: str = "Hello there.") -> StreamResult:
    planned = Planned(index=0, at_s=0.05, text=Text(kind=Kind.SHORT, text=text), feeding=Feeding.HTTP)

    async def run() -> HttpListener:
        loop = asyncio.get_running_loop()
        over, began_s = asyncio.Event(), loop.time()
        async with answering(answer) as port:
            listener = HttpListener(
                planned,
                parse_uri(f"ws://127.0.0.1:{port}/"),
                lambda: loop.time() - began_s,
                lambda late_s: None,
                lambda ended: over.set(),
            )
            await loop.create_connection(lambda: listener, "127.0.0.1", port)
            async with asyncio.timeout(10):
                await over.wait()
        return listener

    return judge(planned, asyncio.run(run()).recording, {})


def test_a_chunked_answer_is_stamped_as_it_comes() -> None:
    pcm = speech("Hello there.")

    async def chunked(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (pcm[:4801], pcm[4801:]):
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    stream = ask(chunked)
    assert (stream.end, stream.samples) == (End.DONE, len(pcm) // 2)
    assert stream.leading_silence_s == pytest.approx(SILENCE_S)
    found = stream.latencies_s
    assert found["audible_ttfa"] == pytest.approx(found["first_playable"] + SILENCE_S)  # type: ignore[operator]
    assert stream.samples / RATE_HZ == pytest.approx(stream.audio_s)


@pytest.mark.parametrize(
    ("answer", "end", "why"),
    [
        (b"HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull", End.REFUSED, "503 full"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad", End.FAILED, "400 bad"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", End.FAILED, "connection lost"),
        (b"what?\r\n\r\n", End.FAILED, "not HTTP"),
        (b"", End.FAILED, "connection"),
    ],
)
def test_other_answers_end_the_stream_with_a_reason(answer: bytes, end: End, why: str) -> None:
    async def give(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    stream = ask(give)
    assert stream.end is end
    assert why in stream.detail


def level(p95_ms: float) -> Any:
    """Of a level only what is judged."""
    found = Percentiles(count=200, p50=10.0, p95=p95_ms, p99=p95_ms, max=p95_ms)

    return SimpleNamespace(name="openings", against=(), latencies_ms={"audible_ttfa": found})


def test_each_limit_is_judged() -> None:
    quiet = Percentiles(count=150, p50=10.0, p95=10.0, p99=20.0, max=20.0)
    good = Openings(
        limits=Limits(http_ms=25.0, words_ms=50.0),
        http=level(24.0),
        words=level(49.0),
        leading_quiet_ms=quiet,
        soft_leading_quiet_ms=replace(quiet, p95=60.0, p99=60.0, max=60.0),
    )
    assert good.against == ()
    for change in (
        {"http": level(26.0)},
        {"words": level(51.0)},
        {"leading_quiet_ms": replace(quiet, p95=20.0)},
        {"soft_leading_quiet_ms": replace(quiet, p95=70.0, p99=70.0, max=70.0)},
        {"leading_quiet_ms": None},
    ):
        assert len(replace(good, **change).against) == 1  # type: ignore[arg-type]


def test_only_f_th_and_h_count_as_soft() -> None:
    assert [Opening(sounds=one, text="").is_soft for one in ("f r", "th", "hh", "sh", "dh", "s t r")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert openings.PLACE.exists()
