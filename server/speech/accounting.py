"""Accounting of one utterance: its playout clock, where its listener first hears something, its metrics, its caller's
quota, and its line in the log. Everything is counted once, when the last event is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.leading_quiet import loud_windows, window_samples
from engines.playout import Playout
from server.access import Caller
from server.errors import Outcome
from server.logs import get_logger
from server.metrics import Metrics, Protocol

log = get_logger()


class Accounting:
    def __init__(
        self, metrics: Metrics, caller: Caller | None, *, protocol: Protocol, rate_hz: int, clock: Callable[[], float]
    ) -> None:
        """Raises ApiError when the caller's quota is used up."""
        self._metrics, self._caller, self._protocol, self._clock = metrics, caller, protocol, clock
        self._playout, self._rate_hz = Playout(rate_hz), rate_hz
        self._first_audible = FirstAudible(rate_hz)
        self._first_text_s: float | None = None
        self._audible_s: float | None = None
        self.closed = False
        if caller is not None:
            caller.open_stream()
        metrics.streams.inc()
        self._opened_s = clock()

    @property
    def audio_s(self) -> float:
        return self._playout.sent_s

    @property
    def has_audio(self) -> bool:
        return self._playout.first_s is not None

    @property
    def ttfa_s(self) -> float | None:
        if self._playout.first_s is None or self._first_text_s is None:
            return None
        return self._playout.first_s - self._first_text_s

    @property
    def audible_ttfa_s(self) -> float | None:
        """Until a listener that plays from the first byte hears the first audible window."""
        if self._audible_s is None or self._first_text_s is None:
            return None
        return self._audible_s - self._first_text_s

    @property
    def lead_s(self) -> float:
        """Audio sent and not yet played."""
        return self._playout.lead_s(self._clock())

    def played_s(self, now: float) -> float:
        return self._playout.played_s(now)

    def text_received(self, characters: int, received_s: float) -> None:
        """The first starts the TTFA clock. Raises ApiError when the caller's quota is used up."""
        if self._caller is not None:
            self._caller.spend(characters)
        if self._first_text_s is None and characters:
            self._first_text_s = received_s

    def started(self) -> None:
        self._metrics.queue_s.observe(self._clock() - self._opened_s)

    def waiting_for_text(self) -> None:
        self._playout.waiting_for_text()

    def audio_sent(self, pcm: bytes) -> None:
        metrics, now, before_s = self._metrics, self._clock(), self._playout.last_s
        samples = len(pcm) // 2
        begins_s = self._playout.sent(samples, now)
        if (audible_at := self._first_audible.find(pcm)) is not None:
            self._audible_s = begins_s + audible_at / self._rate_hz
            if self.audible_ttfa_s is not None:
                metrics.audible_ttfa_s.labels(self._protocol).observe(self.audible_ttfa_s)
        metrics.audio_s.inc(samples / self._rate_hz)
        if before_s is not None:
            metrics.inter_chunk_s.observe(now - before_s)
        elif self.ttfa_s is not None:
            metrics.ttfa_s.labels(self._protocol).observe(self.ttfa_s)
        metrics.lead_s.observe(self._playout.lead_s(now))

    def close(self, outcome: Outcome, code: str | None, **fields: object) -> None:
        """`fields` go to the log as they are. Only the first call counts."""
        if self.closed:
            return
        self.closed = True
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
            protocol=self._protocol,
            caller=self._caller.name if self._caller is not None else None,
            outcome=outcome,
            code=code,
            ttfa_s=_rounded(self.ttfa_s),
            audible_ttfa_s=_rounded(self.audible_ttfa_s),
            rtf=_rounded(self._rtf),
            audio_s=_rounded(self.audio_s),
            underruns=playout.underruns,
            **fields,
        )

    @property
    def _rtf(self) -> float | None:
        playout = self._playout
        if not playout.sent_s or playout.last_s is None or self._first_text_s is None:
            return None
        return max(0.0, playout.last_s - self._first_text_s - playout.waited_s) / playout.sent_s


class FirstAudible:
    """Where audio as it is sent has its first audible window, counted from each chunk's first sample."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._rest: NDArray[np.int16] | None = np.zeros(0, np.int16)  # less than a window; None once it is found

    def find(self, pcm: bytes) -> int | None:
        """The window's first sample in this chunk, below 0 where it began in the one before; None: not here."""
        if self._rest is None:
            return None
        samples = np.concatenate([self._rest, np.frombuffer(pcm, "<i2")])
        loud = np.flatnonzero(loud_windows(samples, self._rate_hz))
        if len(loud):
            found = int(loud[0]) * window_samples(self._rate_hz) - len(self._rest)
            self._rest = None
            return found
        whole = len(samples) // window_samples(self._rate_hz) * window_samples(self._rate_hz)
        self._rest = samples[whole:]
        return None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
