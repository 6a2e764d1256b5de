"""Clients that feed words one at a time and listen: python loadtests/words.py --url ws://127.0.0.1:8000 --clients 8

A stranger with a socket: imports nothing of ours. Each client appends a word every few milliseconds, plays what comes
with a playback clock from the first byte, and counts the moments at which it would have run dry. Silence after
`waiting_for_text` is not an underrun, because the text had not been sent. Bounded by --seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import connect

TEXTS = (
    "Good morning, this is the front desk. Your table for four is ready, and the chef recommends the grilled salmon.",
    "I checked your order. It left the warehouse on Tuesday and should arrive before the end of the week.",
    "Please hold the line while I look that up. It will only take a moment, and I will be right back with you.",
    "The weather tomorrow will be mild with some clouds in the morning and a light breeze from the west.",
    "Turn left at the next light, go straight for two miles, and then take the second exit at the circle.",
    "Thank you for calling. Is there anything else that I can help you with today, or would you like to hear it again?",
)


@dataclass
class Result:
    ttfa_ms: list[float] = field(default_factory=list)
    rtf: list[float] = field(default_factory=list)
    underruns: int = 0
    stalled_ms: float = 0.0
    utterances: int = 0
    failures: list[str] = field(default_factory=list)
    audio_s: float = 0.0


class Player:
    """Plays from the first byte on; counts running dry."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.dry_at_s: float | None = None
        self.excused = False
        self.underruns = 0
        self.stalled_ms = 0.0
        self.samples = 0

    def take(self, pcm: bytes, now: float) -> None:
        if self.dry_at_s is not None and now > self.dry_at_s and not self.excused:
            self.underruns += 1
            self.stalled_ms += 1000 * (now - self.dry_at_s)
        self.excused = False
        self.samples += len(pcm) // 2
        self.dry_at_s = max(self.dry_at_s or now, now) + len(pcm) / 2 / self.rate_hz


async def utterance(url: str, text: str, word_ms: float, result: Result, rate_hz: int) -> float:
    """Speaks one text; returns the seconds heard."""
    async with connect(f"{url}/v1/audio/speech/ws", subprotocols=["parlando.v1"], compression=None) as socket:
        await socket.send(json.dumps({"type": "start", "sample_rate": rate_hz, "words": False}))
        started = time.monotonic()
        player = Player(rate_hz)
        first_s: float | None = None

        async def feed() -> None:
            for index, word in enumerate(text.split()):
                await socket.send(json.dumps({"type": "append", "text": word + " "}))
                due = started + (index + 1) * word_ms / 1000
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await socket.send(json.dumps({"type": "end"}))

        feeding = asyncio.create_task(feed())
        try:
            async for message in socket:
                now = time.monotonic()
                if isinstance(message, bytes):
                    first_s = first_s or now
                    player.take(message, now)
                    continue
                event = json.loads(message)
                if event["type"] == "waiting_for_text":
                    player.excused = True
                elif event["type"] == "done":
                    break
                elif event["type"] == "error":
                    result.failures.append(event["message"])
                    return 0.0
        finally:
            feeding.cancel()
        audio_s = player.samples / rate_hz
        if first_s is None or abs(1000 * audio_s - event["audio_ms"]) > 1:
            result.failures.append(f"got {audio_s} s, the server says {event.get('audio_ms')} ms")
            return 0.0
        result.utterances += 1
        result.audio_s += audio_s
        result.ttfa_ms.append(1000 * (first_s - started))
        result.rtf.append((time.monotonic() - started) / audio_s)
        result.underruns += player.underruns
        result.stalled_ms += player.stalled_ms
        return audio_s


async def client(index: int, options: argparse.Namespace, result: Result, until: float) -> None:
    rng = random.Random(index)
    while time.monotonic() < until:
        started = time.monotonic()
        heard_s = 0.2
        try:
            async with asyncio.timeout(60):
                heard_s = await utterance(options.url, rng.choice(TEXTS), options.word_ms, result, options.rate)
        except (OSError, TimeoutError) as error:
            result.failures.append(repr(error))
        # A listener hears it out before asking for more.
        if options.paced:
            await asyncio.sleep(max(0.0, heard_s - (time.monotonic() - started)))


async def run(options: argparse.Namespace) -> Result:
    result = Result()
    until = time.monotonic() + options.seconds
    await asyncio.gather(*(client(index, options, result, until) for index in range(options.clients)))
    return result


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="ws://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--word-ms", type=float, default=10)
    parser.add_argument("--rate", type=int, default=24_000)
    parser.add_argument("--paced", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = asyncio.run(run(options))
    if not result.ttfa_ms:
        raise SystemExit(f"no utterance finished: {result.failures[:3]}")
    figures = {
        "clients": options.clients,
        "seconds": options.seconds,
        "word_ms": options.word_ms,
        "utterances": result.utterances,
        "failures": len(result.failures),
        "audio_s": round(result.audio_s, 1),
        "underruns": result.underruns,
        "stalled_ms": round(result.stalled_ms, 1),
        "ttfa_ms_p50": round(statistics.median(result.ttfa_ms), 1),
        "ttfa_ms_p95": round(percentile(result.ttfa_ms, 0.95), 1),
        "rtf_p50": round(statistics.median(result.rtf), 3),
    }
    print(json.dumps(figures, indent=1))
    for failure in result.failures[:3]:
        print("failure:", failure)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
