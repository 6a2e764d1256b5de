"""A listener on our WebSocket protocol that takes the time: the same for ours and for a peer.

It plays from the first byte and counts the moments it runs dry. First audio is the first audible window,
as played. `listen` speaks one text, `crowd` keeps a number of listeners busy, each hearing an utterance out before the
next one.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field

from websockets.asyncio.client import connect

from loadtests.playback import play
from loadtests.recording import first_audible_sample

RATE_HZ = 16_000
_RETRY_S = 0.5


@dataclass
class Heard:
    """One utterance."""

    first_byte_s: float = 0.0
    wall_s: float = 0.0
    pcm: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # (seconds since the first text, bytes by then)
    underruns: int = 0
    refused: bool = False  # no room for it
    rate_hz: int = RATE_HZ

    @property
    def audio_s(self) -> float:
        return len(self.pcm) / 2 / self.rate_hz

    @property
    def ttfa_s(self) -> float:
        """When the first audible window begins to be heard: the first arrival, and what plays before the window."""
        first = first_audible_sample(bytes(self.pcm), self.rate_hz // 100)
        if first is None:
            raise RuntimeError("nothing was audible")
        sizes = (0, *(size for _, size in self.arrivals))
        chunks = [(at_s, size // 2 - before // 2) for (at_s, size), before in zip(self.arrivals, sizes)]
        return play(chunks, self.rate_hz).heard_s(first)


async def listen(url: str, text: str, word_s: float | None = None, *, rate_hz: int = RATE_HZ) -> Heard:
    """The whole text at once, or a word every `word_s` seconds. The clock starts at the first text sent."""
    heard, dry_at_s, excused = Heard(rate_hz=rate_hz), 0.0, False
    async with connect(f"{url}/v1/audio/speech/ws", subprotocols=["parlando.v1"], compression=None) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "start", "sample_rate": rate_hz}))
        started_s = time.monotonic()

        async def feed() -> None:
            parts = [text] if word_s is None else [word + " " for word in text.split()]
            for index, part in enumerate(parts):
                await asyncio.sleep(max(0.0, started_s + index * (word_s or 0) - time.monotonic()))
                await socket.send(json.dumps({"type": "append", "text": part}))
            await socket.send(json.dumps({"type": "end"}))

        feeding = asyncio.create_task(feed())
        async for message in socket:
            now_s = time.monotonic()
            if isinstance(message, bytes):
                if not heard.pcm:
                    heard.first_byte_s, dry_at_s = now_s - started_s, now_s
                elif now_s > dry_at_s and not excused:
                    heard.underruns += 1
                heard.pcm += message
                heard.arrivals.append((now_s - started_s, len(heard.pcm)))
                dry_at_s, excused = max(dry_at_s, now_s) + len(message) / 2 / rate_hz, False
                continue
            event = json.loads(message)
            if event["type"] == "waiting_for_text":
                excused = True
            elif event["type"] == "error" and event["code"] == "overloaded":
                heard.refused = True
                feeding.cancel()
                return heard
            elif event["type"] == "error":
                raise RuntimeError(f"{url}: {event['message']}")
            elif event["type"] == "done":
                break
        await feeding
        heard.wall_s = time.monotonic() - started_s
    if abs(1000 * heard.audio_s - event["audio_ms"]) > 1:
        raise RuntimeError(f"{url}: heard {heard.audio_s} s, the server says {event['audio_ms']} ms")
    return heard


async def crowd(url: str, texts: list[str], listeners: int, seconds: float, *, rate_hz: int = RATE_HZ) -> list[Heard]:
    """A stream that is playing at the end is heard out. Starts are spread over the first two seconds."""
    until_s = time.monotonic() + seconds
    done: list[Heard] = []

    async def one(index: int) -> None:
        rng = random.Random(index)
        await asyncio.sleep(2 * index / listeners)
        while (started_s := time.monotonic()) < until_s:
            heard = await listen(url, rng.choice(texts), rate_hz=rate_hz)
            done.append(heard)
            await asyncio.sleep(max(0.0, started_s + heard.first_byte_s + heard.audio_s - time.monotonic()))
            if heard.refused:
                await asyncio.sleep(_RETRY_S)

    await asyncio.gather(*(one(index) for index in range(listeners)))
    return done
