"""Several steps of one sequence from one forward, with the very picks that single steps would have made.

The drafter guesses; the target runs over the true next step and the guesses behind it; its own picks, made with the
same noise at the same positions, decide how far the guesses were right (drafter-invariant coupling, arXiv 2408.07978).

    step      x[t+1]   x[t+2]      x[t+3]       x[t+4]
    input     true     if guess 1  if guess 2   if guess 3
    pick      p1       p2          p3           p4
    stands    always   p1 = g1     p2 = g2      p3 = g3, and all before

What does not stand is taken back by counting fewer steps in the cache. Several steps in one call sum in another order
than single ones, some 1e-5 apart. So a pick that is all but a tie is not made from such a cache: the segment's steps
are made again one by one first (`Sequence.make_exact`), and drafts change no bit of the audio.

Whether it pays is measured, not believed: `DraftSwitch` times both ways and lets the faster one run.
"""

from __future__ import annotations

from collections.abc import Callable

from engines.adapter_pointer import in_sight, moved, write_step
from engines.bundle import Bundle
from engines.counters import Counters
from engines.decoding import Outcome, pick
from engines.drafters import Drafter, Guess
from engines.errors import EngineFault
from engines.runtime.base import FloatArray, LmRuntime
from engines.sequence import Place, Sequence

_PROBE_EVERY = 400  # tokens between two looks at the way not taken; twice as many after each that changed nothing
_PROBE_EVERY_MOST = 12800
_PROBE_TOKENS = 24
_MEMORY = 0.1  # weight of the newest probe or run


class DraftSwitch:
    """Seconds per token with and without drafts, and which of the two to run next. The caller brings the times."""

    def __init__(self) -> None:
        self._cost_s: dict[bool, float] = {}
        self._left, self._every = _PROBE_TOKENS, _PROBE_EVERY
        self._settled = True  # the way that the last probe confirmed
        self.on = True

    def observe(self, tokens: int, seconds: float) -> None:
        """Of one step, made the way `on` says."""
        known = self._cost_s.get(self.on)
        cost_s = seconds / tokens
        self._cost_s[self.on] = cost_s if known is None else known + _MEMORY * (min(cost_s, 4 * known) - known)
        self._left -= tokens
        if self._left > 0:
            return
        if self.on is self.best:
            self.on, self._left = not self.best, _PROBE_TOKENS
            return
        self._every = min(2 * self._every, _PROBE_EVERY_MOST) if self.best is self._settled else _PROBE_EVERY
        self.on = self._settled = self.best
        self._left = self._every

    @property
    def best(self) -> bool:
        """Whether drafts pay; without both figures, that they might."""
        return self._cost_s.get(True, 0.0) <= self._cost_s.get(False, float("inf"))

    @property
    def gain(self) -> float | None:
        """Speed with drafts over speed without."""
        if len(self._cost_s) < 2:
            return None
        return self._cost_s[False] / self._cost_s[True]


class Speculation:
    def __init__(
        self, bundle: Bundle, runtime: LmRuntime, drafter: Drafter, counters: Counters, clock: Callable[[], float]
    ) -> None:
        self._bundle, self._runtime, self._drafter = bundle, runtime, drafter
        self._counters, self._clock = counters, clock
        self._hidden: dict[str, tuple[int, FloatArray]] = {}  # by request: LM steps made, the last one's hidden state

    @property
    def max_steps(self) -> int:
        """Steps of one call at most: the true one and the guesses."""
        return self._drafter.length + 1

    def saw_step(self, sequence: Sequence) -> None:
        """After a plain step: its hidden state is where the next guesses start."""
        self._keep(sequence, self._runtime.hidden(sequence.slot))

    def forget(self, request_id: str) -> None:
        self._hidden.pop(request_id, None)

    def run(self, sequence: Sequence, max_steps: int, commit: Callable[[Sequence, Outcome], bool]) -> None:
        """Commits the picks that stand. `max_steps`: what the sequence's memory allows; it must be `ready`.

        `commit` tells whether the sequence goes on.
        """
        places, guesses = self._foresee(sequence, max_steps)
        inputs = self._runtime.ahead(len(places))
        for step, at in enumerate(places):
            write_step(self._bundle.adapter, inputs, sequence, at, 0, step)
        inputs.past[0] = sequence.past
        started_s = self._clock()
        try:
            code_logits, advance_logits, hidden = self._runtime.verify(sequence.slot, len(places))
        except Exception as error:  # whatever the backend raises belongs to this row, not to the loop
            commit(sequence, EngineFault(f"the speech model failed: {error}"))
            return
        self._counters.lm_busy_s += self._clock() - started_s
        self._counters.lm_steps += 1
        self._counters.lm_rows += 1
        self._counters.drafts_proposed += len(guesses)
        sequence.exact = sequence.exact and len(places) == 1
        segment = sequence.segments_done
        for step, following in enumerate([*places[1:], None]):
            if not commit(sequence, pick(sequence, code_logits[step], advance_logits[step])):
                return
            self._keep(sequence, hidden[step])
            # Guards may have moved the pointer elsewhere than the model said: then what lies behind is not its future.
            if sequence.segments_done != segment or sequence.place != following:
                return
            self._counters.drafts_accepted += 1

    def _foresee(self, sequence: Sequence, max_steps: int) -> tuple[list[Place], list[Guess]]:
        """The places of the steps to run: the true one and those the guesses lead to."""
        places: list[Place] = [sequence.place]
        guesses: list[Guess] = []
        made, hidden = self._hidden.get(sequence.request.request_id, (-1, None))
        if hidden is None or made != sequence.lm_steps or sequence.past == 0:
            return places, guesses
        for code, advance in self._drafter.propose(sequence, hidden):
            following = moved(places[-1], code, advance)
            if len(places) >= max_steps or not in_sight(self._bundle.adapter, sequence.segments[0], following):
                break
            guesses.append((code, advance))
            places.append(following)
        return places, guesses

    def _keep(self, sequence: Sequence, hidden: FloatArray) -> None:
        self._hidden[sequence.request.request_id] = (sequence.lm_steps, hidden.copy())
