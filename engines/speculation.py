"""Several steps of a sequence from one forward, with the very frames that single steps would have sampled.

The drafter guesses; the target runs over the true next step and the guesses behind it; its own frames, sampled with the
same noise at the same positions, decide how far the guesses were right (drafter-invariant coupling, arXiv 2408.07978).

    step      x[t+1]   x[t+2]      x[t+3]       x[t+4]
    input     true     if draft 1  if draft 2   if draft 3
    sampled   s1       s2          s3           s4
    stands    always   s1 = d1     s2 = d2      s3 = d3, and all before

What does not stand is taken back by holding fewer positions. A Talker's verify has the bits of single steps, so drafts
change no bit of the audio. Where a family lets near drafts stand, the draft is what is committed, since the steps
behind it have seen it (docs/decisions/0009).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import NamedTuple

import numpy as np

from engines.config import DraftMode, EngineConfig
from engines.counters import Counters
from engines.errors import ConfigError
from engines.families.base import Drafter, Frames, Row, Sampling, Steps, Talker
from engines.runtime.base import IntArray
from engines.sequence import Sequence

_PROBE_EVERY = 400  # frames between two looks at the way not taken; twice as many after each that changed nothing
_PROBE_EVERY_MOST = 12800
_PROBE_TOKENS = 48
_PROBE_LEAST = 12  # tokens of a look that may end early
_CLEARLY_SLOWER = 1.3  # times what the other way costs: no more need be seen
_KEEP = 0.97  # of what is known, with every step
_COLD_STEPS = 4  # first steps of a way pay for memory and bindings; they are not counted


class DraftSwitch:
    """Seconds per token with and without drafts, and which of the two to run next. The caller brings the times."""

    def __init__(self) -> None:
        # Decayed sums: a mean of seconds per token over steps would count a step of one token like one of three.
        self._seconds, self._tokens = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
        self._cold = {True: _COLD_STEPS, False: _COLD_STEPS}
        self._left, self._every = _PROBE_TOKENS, _PROBE_EVERY
        self._settled = True  # the way that the last probe confirmed
        self._looked_s, self._looked = 0.0, 0  # seconds and tokens of the other way since the probe began
        self.on = True

    def observe(self, tokens: int, seconds: float) -> None:
        """Of one step, made the way `on` says."""
        way = self.on
        if self._cold[way] > 0:
            self._cold[way] -= 1
            return
        known = self._cost_s(way)
        seconds = seconds if known is None else min(seconds, 4 * known * tokens)  # more is an interruption
        self._seconds[way] = _KEEP * self._seconds[way] + seconds
        self._tokens[way] = _KEEP * self._tokens[way] + tokens
        self._left -= tokens
        if self.on is not self._settled:
            self._looked_s, self._looked = self._looked_s + seconds, self._looked + tokens
        if self._left > 0 and not self._seen_enough:
            return
        if self.on is self.best:
            self.on, self._left = not self.best, _PROBE_TOKENS
            self._looked_s, self._looked = 0.0, 0
            return
        self._every = min(2 * self._every, _PROBE_EVERY_MOST) if self.best is self._settled else _PROBE_EVERY
        self.on = self._settled = self.best
        self._left = self._every

    @property
    def _seen_enough(self) -> bool:
        """Whether the way looked at is so much slower that the rest of the probe would only cost time."""
        settled_s = self._cost_s(self._settled)
        if self._looked < _PROBE_LEAST or settled_s is None:
            return False
        return self.on is not self._settled and self._looked_s / self._looked > _CLEARLY_SLOWER * settled_s

    @property
    def best(self) -> bool:
        """Whether drafts pay; without both figures, that they might."""
        drafted_s, plain_s = self._cost_s(True), self._cost_s(False)
        return drafted_s is None or plain_s is None or drafted_s <= plain_s

    def _cost_s(self, way: bool) -> float | None:
        """Seconds a token."""
        return self._seconds[way] / self._tokens[way] if self._tokens[way] else None


class Verified(NamedTuple):
    """What a call made of one sequence: its drafts [K, W], and the row of `steps` that is its own."""

    sequence: Sequence
    drafted: Frames
    steps: Steps
    row: int


class Speculation:
    def __init__(
        self, talker: Talker, drafter: Drafter, config: EngineConfig, counters: Counters, clock: Callable[[], float]
    ) -> None:
        """Raises ConfigError for a drafter that guesses further than the Talker can verify."""
        if drafter.frames > (most := talker.draft_frames):
            raise ConfigError(f"the drafter guesses {drafter.frames} steps, the bundle's graph checks {most}")
        self._talker, self._drafter, self._counters, self._clock = talker, drafter, counters, clock
        self.stands, self._always = drafter.stands, config.drafts is DraftMode.ON
        switches = [DraftSwitch() for _ in range(config.draft_rows.bit_length() + 1)]  # 1, 2, 3 to 4, 5 to 8, ... rows
        self._switches = [switches[(rows - 1).bit_length()] for rows in range(1, config.draft_rows + 1)]
        self.pays = (True,) * config.draft_rows  # for 1, 2, ... rows: the way to run next

    def observe(self, rows: int, *, drafted: bool, frames: int, seconds: float) -> None:
        switch = self._switches[rows - 1]
        if self._always or switch.on is not drafted:
            return
        switch.observe(frames, seconds)
        if switch.on is not drafted:
            self.pays = tuple(one.on for one in self._switches)

    def verify(self, sequences: list[Sequence]) -> list[Verified]:
        """Drafts of sequences that can step, and what the target samples over them, all in one call. For those left
        out nothing could be guessed and nothing was done: a plain step is due. Where a batch fails, its rows are
        called one by one."""
        started_s = self._clock()
        # A plain step begins the slot, and before it there is no frame to go on from.
        guessable = [one for one in sequences if one.length and one.made]
        try:
            known = [one.script.peek(self._drafter.frames + 1) for one in guessable]
            if not any(len(rows) > 1 for rows in known):
                return []
            drafted, steps = self._call(guessable, known)
        except Exception:  # whatever the backend raises: a draft is optional, and a plain step says what is wrong
            if len(sequences) > 1:
                return [verified for one in sequences for verified in self.verify([one])]
            self._counters.draft_faults += 1
            return []
        guessed = [len(rows) - 1 for rows in known]
        self._counters.lm_busy_s += self._clock() - started_s
        self._counters.lm_steps += 1
        self._counters.lm_rows += len(guessable)
        self._counters.drafts_proposed += sum(guessed)
        return [
            Verified(one, drafted[row, :count], steps, row)
            for row, (one, count) in enumerate(zip(guessable, guessed, strict=True))
        ]

    def _call(self, sequences: list[Sequence], known: Items[Items[Row]]) -> tuple[Frames, Steps]:
        """-> drafted [B, S - 1, W], steps [B, S]. A row of which less is known repeats its last one."""
        counts = np.array([len(rows) for rows in known])
        most = int(counts.max())
        rows = np.array([[*some, *[some[-1]] * (most - len(some))] for some in known], np.int64)
        rows = rows.reshape(len(known), most, -1)
        slots, lengths, sampling, keys = of_rows(sequences)
        made = [one.frames for one in sequences]
        drafted = self._drafter.propose(rows[:, :-1], counts - 1, sampling, keys, made)[:, : most - 1]
        return drafted, self._talker.step(slots, rows, counts, lengths, sampling, keys, drafted).wait()


def of_rows(sequences: list[Sequence]) -> tuple[IntArray, IntArray, list[Sampling], IntArray]:
    """What `Talker.step` is told of each besides its rows: slot, positions held, sampling, and (seed, frames made),
    which its noise is keyed by; behind the steps in flight."""
    told = [(one.slot, one.length, one.request.seed, one.made) for one in sequences]
    columns = np.array(told, np.int64)
    columns[:, 1::2] += np.array([[one.in_flight] for one in sequences])
    return columns[:, 0], columns[:, 1], [one.script.sampling for one in sequences], columns[:, 2:]
