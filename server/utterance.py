"""One utterance as both protocols see it: the engine's stream with its seed, resampling, playout clock and metrics."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass

from engines.messages import Cancelled, Chunk, Event, Failed, Finished, Submit, WaitingForText
from server.audio import Resampler, spoken_rate_hz
from server.engine_client import EngineClient, EngineStream
from server.logs import get_logger
from server.metrics import Metrics
from server.playout import Playout

log = get_logger()
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Audio at the asked rate, with the engine's event it came from."""

    pcm: bytes
    event: Chunk


class Utterance:
    def __init__(
        self,
        engine: EngineClient,
        metrics: Metrics,
        *,
        protocol: str,
        voice: str,
        seed: int | None,
        speed: float,
        rate_hz: int,
        temperature: float | None,
    ) -> None:
        self.id = f"utt-{uuid.uuid4().hex}"
        self.seed = secrets.randbelow(2**31) if seed is None else seed
        self.rate_hz = rate_hz
        self._metrics, self._protocol = metrics, protocol
        self._playout = Playout(rate_hz)
        self._resampler = Resampler(rate_hz)
        self._first_text_s: float | None = None
        self._counted = False
        self.characters = 0
        submit = Submit(
            request_id=self.id,
            voice=voice,
            seed=self.seed,
            sample_rate_hz=spoken_rate_hz(rate_hz),
            speed=speed,
            temperature=temperature,
        )
        metrics.streams.inc()
        self._stream: EngineStream = engine.open(submit)

    @property
    def audio_s(self) -> float:
        return self._playout.sent_s

    @property
    def ttfa_s(self) -> float | None:
        if self._playout.first_s is None or self._first_text_s is None:
            return None
        return self._playout.first_s - self._first_text_s

    def append(self, text: str, received_s: float) -> None:
        """`received_s` is when the bytes came (time.monotonic); the first starts the TTFA clock."""
        if self._first_text_s is None and text:
            self._first_text_s = received_s
        self.characters += len(text)
        self._stream.append(text)

    def flush(self) -> None:
        self._stream.flush()

    def end(self) -> None:
        self._stream.end()

    def cancel(self) -> None:
        self._stream.cancel()

    async def next(self) -> Event | Spoken:
        """The next event, its audio resampled. After `Finished`, `rest` may hold the resampler's last samples."""
        event = await self._stream.next()
        match event:
            case Chunk(pcm=pcm):
                return Spoken(pcm=self._resampler.feed(pcm), event=event)
            case Finished():
                self._count("finished")
            case Cancelled():
                self._count("cancelled")
            case Failed(code=code):
                self._count(code)
            case WaitingForText():
                self._playout.waiting_for_text()
        return event

    def rest(self) -> bytes:
        return self._resampler.feed(b"", last=True)

    def sent(self, pcm: bytes) -> None:
        """Call when audio has been handed to the socket."""
        first = self._playout.first_s is None
        self._playout.sent(len(pcm) // 2, time.monotonic())
        if first and self.ttfa_s is not None:
            self._metrics.ttfa_s.labels(self._protocol).observe(self.ttfa_s)

    def close(self) -> None:
        """The listener is done or gone. Safe to call twice."""
        if not self._counted:
            self._count("disconnected")
            self._stream.abandon()

    def _count(self, end: str) -> None:
        if self._counted:
            return
        self._counted = True
        metrics, now = self._metrics, time.monotonic()
        metrics.streams.dec()
        metrics.requests.labels(self._protocol, end).inc()
        metrics.audio_s.inc(self.audio_s)
        metrics.underruns.inc(self._playout.underruns)
        elapsed_s = now - self._first_text_s if self._first_text_s is not None else 0.0
        if end == "finished":
            metrics.e2e_s.labels(self._protocol).observe(elapsed_s)
        log.info(
            "utterance_ended",
            request_id=self.id,
            protocol=self._protocol,
            end=end,
            characters=self.characters,
            seed=self.seed,
            ttfa_s=round(self.ttfa_s, 4) if self.ttfa_s is not None else None,
            audio_s=round(self.audio_s, 3),
            underruns=self._playout.underruns,
        )
