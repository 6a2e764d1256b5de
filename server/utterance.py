"""One utterance as every protocol sees it: text in as it comes, audio and word times out, cancel with position.

It holds the engine's stream, the seed, resampling, the playout clock, the transcript, deadlines, the caller's quota and
the metrics. It knows no socket and no protocol. `next` gives events until the last one; nothing comes after that.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from engines.messages import Cancelled, Chunk, Event, Failed, Finished, Started, Submit, WaitingForText, WordTime
from server.access import current_caller
from server.audio import Resampler, spoken_rate_hz
from server.engine_client import EngineClient
from server.engine_stream import EngineStream
from server.errors import ApiError
from server.identity import utterance_id
from server.logs import get_logger, redacted
from server.metrics import Metrics
from server.playout import Playout
from server.transcript import Position, Transcript

log = get_logger()
MAX_SEED = 2**63 - 1
_SHED = ("overloaded", "not_ready", "draining", "quota_exceeded")


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
        clock: Callable[[], float] = time.monotonic,
        request_id: str | None = None,
    ) -> None:
        """Raises ApiError when the caller's quota is used up."""
        self.id = request_id or f"utt-{uuid.uuid4().hex}"  # of this request; see `utterance_id`
        self.seed = secrets.randbelow(2**31) if seed is None else seed
        self.rate_hz = rate_hz
        self.transcript = Transcript()
        self._engine, self._metrics, self._protocol, self._clock = engine, metrics, protocol, clock
        self._playout = Playout(rate_hz)
        self._resampler = Resampler(rate_hz)
        self._flushes: list[int] = []
        self._unsent_words: list[WordTime] = []
        self._first_text_s: float | None = None
        self._cancelled_s: float | None = None
        self._played_s: float | None = None  # as the client says
        self._counted = False
        self._submit = Submit(
            request_id=self.id,
            voice=voice,
            seed=self.seed,
            sample_rate_hz=spoken_rate_hz(rate_hz),
            speed=speed,
            temperature=temperature,
        )
        self._caller = current_caller()
        if self._caller is not None:
            self._caller.open_stream()
        metrics.streams.inc()
        self._opened_s = clock()
        self._total_deadline = asyncio.get_running_loop().time() + engine.settings.utterance_s
        self._audio_deadline: float | None = None
        self._waiting: asyncio.Timeout | None = None
        self._stream: EngineStream = engine.open(self._submit)

    @property
    def characters(self) -> int:
        return self.transcript.characters

    @property
    def audio_s(self) -> float:
        return self._playout.sent_s

    @property
    def ttfa_s(self) -> float | None:
        if self._playout.first_s is None or self._first_text_s is None:
            return None
        return self._playout.first_s - self._first_text_s

    @property
    def utterance_id(self) -> str:
        """The same for the same speech; final once the text has ended."""
        digest = self._engine.bundle_digest
        return utterance_id(digest, self.transcript.text, self._flushes, self._submit, self.rate_hz)

    @property
    def headers(self) -> dict[str, str]:
        """For an HTTP answer whose text is complete."""
        return {
            "x-request-id": self.id,
            "x-utterance-id": self.utterance_id,
            "x-seed": str(self.seed),
            "x-sample-rate": str(self.rate_hz),
        }

    @property
    def position(self) -> Position:
        """Where it stands, or was cancelled: what has been heard by then and what has not."""
        sent_s = self._playout.sent_s
        heard_s = self._playout.played_s(self._clock() if self._cancelled_s is None else self._cancelled_s)
        played_s = round(max(0.0, min(sent_s, heard_s if self._played_s is None else self._played_s)), 5)
        spoken, remaining = self.transcript.split(played_s)
        return Position(played_s=played_s, sent_s=sent_s, text_spoken=spoken, text_remaining=remaining)

    # -- in --------------------------------------------------------------------------------------------------------

    def append(self, text: str, received_s: float) -> None:
        """`received_s` is when the bytes came; the first starts the TTFA clock. Raises ApiError beyond a limit."""
        limit, total = self._engine.settings.max_characters, self.characters + len(text)
        if total > limit:
            raise ApiError("text_too_long", f"the text has {total} characters, the limit is {limit}", param="text")
        if self._caller is not None:
            self._caller.spend(len(text))
        if self._first_text_s is None and text:
            self._first_text_s = received_s
        self.transcript.append(text)
        self._stream.append(text)

    def flush(self) -> None:
        self._flushes.append(self.characters)
        self._stream.flush()

    def end(self) -> None:
        if self._playout.first_s is None:
            self._audio_deadline = asyncio.get_running_loop().time() + self._engine.settings.first_audio_s
            if self._waiting is not None:
                self._waiting.reschedule(self._deadline())
        self._stream.end()

    def cancel(self, played_s: float | None = None) -> None:
        """Stops now; `Cancelled` comes next unless the last event has been taken. `position` then stays."""
        if self._cancelled_s is None:
            self._cancelled_s, self._played_s = self._clock(), played_s
            self._stream.cancel()

    def fail(self, error: ApiError) -> None:
        """Stops for a reason of the server's; `Failed` comes next."""
        failed = Failed(request_id=self.id, code=error.code, message=error.message, retry_after_s=error.retry_after_s)
        self._stream.fail(failed)

    # -- out -------------------------------------------------------------------------------------------------------

    async def next(self) -> Event | Spoken:
        """The next event, its audio resampled. After `Finished`, `rest` may hold the resampler's last samples."""
        event = await self._next_within_deadlines()
        match event:
            case Chunk(pcm=pcm, words=words):
                self._audio_deadline = None
                self._unsent_words += words
                return Spoken(pcm=self._resampler.feed(pcm), event=event)
            case Started():
                self._metrics.queue_s.observe(self._clock() - self._opened_s)
            case WaitingForText():
                self._playout.waiting_for_text()
            case Finished():
                self._count("ok")
            case Cancelled():
                self._count("cancelled")
            case Failed(code=code):
                outcome = "shed" if code in _SHED else "timeout" if code == "deadline_exceeded" else "error"
                self._count(outcome, code)
        return event

    async def _next_within_deadlines(self) -> Event:
        try:
            async with asyncio.timeout_at(self._deadline()) as self._waiting:
                return await self._stream.next()
        except TimeoutError:
            limits = self._engine.settings
            late = self._audio_deadline is not None
            what = f"no audio {limits.first_audio_s} s after the text ended" if late else f"over {limits.utterance_s} s"
            self.fail(ApiError("deadline_exceeded", what, retry_after_s=1))
            return await self._stream.next()
        finally:
            self._waiting = None

    def _deadline(self) -> float:
        return min(self._total_deadline, self._audio_deadline or self._total_deadline)

    def rest(self) -> bytes:
        return self._resampler.feed(b"", last=True)

    def sent(self, pcm: bytes) -> tuple[WordTime, ...]:
        """Call when audio has been handed to the socket. Returns the words that it has spoken."""
        now, before_s = self._clock(), self._playout.last_s
        samples = len(pcm) // 2
        self._playout.sent(samples, now)
        self._metrics.audio_s.inc(samples / self.rate_hz)
        if before_s is not None:
            self._metrics.inter_chunk_s.observe(now - before_s)
        elif self.ttfa_s is not None:
            self._metrics.ttfa_s.labels(self._protocol).observe(self.ttfa_s)
        self._metrics.lead_s.observe(self._playout.lead_s(now))
        words, self._unsent_words = self._unsent_words, []
        return self.transcript.spoke(words)

    def close(self) -> None:
        """The listener is done or gone. Safe to call twice."""
        if not self._counted:
            self._stream.abandon()
            self._count("cancelled", "disconnected")

    # -- the books -------------------------------------------------------------------------------------------------

    @property
    def _rtf(self) -> float | None:
        playout = self._playout
        if not playout.sent_s or playout.last_s is None or self._first_text_s is None:
            return None
        return max(0.0, playout.last_s - self._first_text_s - playout.waited_s) / playout.sent_s

    def _count(self, outcome: str, code: str | None = None) -> None:
        if self._counted:
            return
        self._counted = True
        if self._caller is not None:
            self._caller.close_stream()
        metrics, playout = self._metrics, self._playout
        metrics.streams.dec()
        metrics.requests.labels(self._protocol, outcome).inc()
        metrics.underruns.inc(playout.underruns)
        metrics.underrun_s.inc(playout.underrun_s)
        if outcome == "ok" and self._first_text_s is not None and self._rtf is not None:
            metrics.e2e_s.labels(self._protocol).observe(self._clock() - self._first_text_s)
            metrics.rtf.observe(self._rtf)
        log.info(
            "utterance_ended",
            request_id=self.id,
            utterance_id=self.utterance_id,
            protocol=self._protocol,
            caller=self._caller.name if self._caller is not None else None,
            outcome=outcome,
            code=code,
            characters=self.characters,
            text=redacted(self.transcript.text, keep=self._engine.settings.log_text),
            seed=self.seed,
            ttfa_s=_rounded(self.ttfa_s),
            rtf=_rounded(self._rtf),
            audio_s=_rounded(self.audio_s),
            underruns=playout.underruns,
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
