"""By when an utterance's next event must come: its text within a pause, its audio after the text, its end at all.

Each event and each text moves a deadline, so one timer sees many of them: it is set anew when it strikes too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engines.messages import Event
from server.errors import ApiError
from server.settings import Settings


class Deadlines:
    def __init__(self, limits: Settings, text_field: str, idle_s: float, fail: Callable[[ApiError], None]) -> None:
        """`fail` brings the last event about, with what was late. `idle_s`: how long the text may pause."""
        self._limits, self._text_field, self._idle_s, self._fail = limits, text_field, idle_s, fail
        self._loop = asyncio.get_running_loop()
        self._total = self._loop.time() + limits.utterance_s
        self._text: float | None = self._loop.time() + idle_s  # None: it has ended
        self._audio: float | None = None  # before the end of the text, and once there is audio
        self._timer: asyncio.TimerHandle | None = None
        self.is_awaited = False

    def text_goes_on(self, lead_s: float) -> None:
        """What has been sent is heard first."""
        if self._text is not None:
            self._text = self._loop.time() + lead_s + self._idle_s

    def text_ends(self, *, has_audio: bool) -> None:
        self._text = None
        if not has_audio:
            self._audio = self._loop.time() + self._limits.first_audio_s
            if self._timer is not None:  # it may be set for later
                self._set_timer()

    def audio_came(self) -> None:
        self._audio = None

    async def meet(self, coming: Awaitable[Event]) -> Event:
        """The event that is awaited, which `fail` makes the last one when a deadline passes before it."""
        if self._timer is None:
            self._set_timer()
        self.is_awaited = True
        try:
            return await coming
        finally:
            self.is_awaited = False

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._next(), self._strike)

    def _strike(self) -> None:
        self._timer = None
        if not self.is_awaited:
            return
        if self._loop.time() < self._next():
            self._set_timer()
        else:
            self._fail(self._lateness())

    def _next(self) -> float:
        return min(deadline for deadline in (self._total, self._audio, self._text) if deadline is not None)

    def _lateness(self) -> ApiError:
        limits, passed = self._limits, self._next()
        if passed == self._text:
            message = f"no {self._text_field} came for {self._idle_s:g} s; end the utterance, or send more"
            return ApiError("input_timeout", message)
        if passed == self._audio:
            message = f"no audio {limits.first_audio_s:g} s after the end of {self._text_field}"
        else:
            message = f"the utterance took more than {limits.utterance_s:g} s"
        return ApiError("deadline_exceeded", message, retry_after_s=1)
