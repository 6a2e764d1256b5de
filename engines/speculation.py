"""Several steps of one sequence from one forward, with the very picks that single steps would have made.

The drafter guesses; the target runs over the true next step and the guesses behind it; its own picks, made with the
same noise at the same positions, decide how far the guesses were right (drafter-invariant coupling, arXiv 2408.07978).

    step      x[t+1]   x[t+2]      x[t+3]       x[t+4]
    input     true     if guess 1  if guess 2   if guess 3
    pick      p1       p2          p3           p4
    stands    always   p1 = g1     p2 = g2      p3 = g3, and all before

What does not stand is taken back by counting fewer steps in the cache. The graph over several steps has the bits of
single ones (`models/export.py`), so drafts change no bit of the audio. (Tried first: one attention call over all
steps. It sums in another order, 1e-5 apart in float, which int8 now and then makes a whole step of its scale.)

With a `tolerance` above 0 a guess stands as well if each of its digits is that near the pick's. Then the guess is what
is said, since the steps behind it have seen it; the audio is no longer that of single steps (docs/decisions/0009).

Whether it pays is measured, not believed: `DraftSwitch` times both ways and lets the faster one run.
"""

from __future__ import annotations

from collections.abc import Callable

from engines.bundle import Bundle
from engines.counters import Counters
from engines.decoding import Outcome, pick
from engines.errors import EngineFault
from engines.families.phone_pointer.durations import Place, place_at
from engines.families.phone_pointer.forecast import Drafter
from engines.families.phone_pointer.inputs import features
from engines.families.phone_pointer.tolerance import stands
from engines.runtime.base import LmRuntime
from engines.sequence import Sequence

_PROBE_EVERY = 400  # tokens between two looks at the way not taken; twice as many after each that changed nothing
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

    @property
    def gain(self) -> float | None:
        """Speed with drafts over speed without."""
        drafted_s, plain_s = self._cost_s(True), self._cost_s(False)
        return None if drafted_s is None or plain_s is None else plain_s / drafted_s

    def _cost_s(self, way: bool) -> float | None:
        """Seconds a token."""
        return self._seconds[way] / self._tokens[way] if self._tokens[way] else None


class Speculation:
    def __init__(
        self,
        bundle: Bundle,
        runtime: LmRuntime,
        drafter: Drafter,
        counters: Counters,
        clock: Callable[[], float],
        tolerance: int = 0,
    ) -> None:
        self._bundle, self._runtime, self._drafter = bundle, runtime, drafter
        self._counters, self._clock = counters, clock
        self._levels, self._tolerance = bundle.codes.levels, tolerance

    @property
    def steps(self) -> int:
        """Of one call: the true one and the guesses."""
        return self._drafter.length + 1

    def run(self, sequence: Sequence, commit: Callable[[Sequence, Outcome], bool]) -> bool:
        """Commits the picks that stand. The sequence must be `ready`, its memory must hold `steps` more steps.

        `commit` tells whether the sequence goes on. False, and nothing done, where nothing can be guessed: a plain step
        is then due.
        """
        started_s = self._clock()
        try:
            places = self._foresee(sequence)
            if len(places) < 2:
                return False
            self._runtime.ahead.past[0] = sequence.past
            code_logits = self._runtime.verify(sequence.slot)
        except Exception:  # whatever the backend raises: a guess is optional, and a plain step says what is wrong
            self._counters.draft_faults += 1
            return False
        self._counters.lm_busy_s += self._clock() - started_s
        self._counters.lm_steps += 1
        self._counters.lm_rows += 1
        self._counters.drafts_proposed += len(places) - 1
        segment = sequence.segments_done
        for step, following in enumerate([*places[1:], None]):
            picked = pick(sequence, code_logits[step])
            said = self._said(picked, following)
            if not commit(sequence, said):
                break
            if sequence.segments_done != segment or sequence.place != following:
                break
            if said == picked:
                self._counters.drafts_accepted += 1
            else:
                self._counters.drafts_tolerated += 1
        return True

    def _said(self, picked: Outcome, following: Place | None) -> Outcome:
        """The guess where it stands, since the step behind it has seen it; else the pick."""
        if following is None or isinstance(picked, EngineFault):
            return picked
        guess = following.previous_code
        return guess if stands(self._levels, guess, picked, self._tolerance) else picked

    def _foresee(self, sequence: Sequence) -> list[Place]:
        """The places of the steps to run, the true one and those the guesses lead to, laid out for the runtime."""
        if sequence.past == 0:
            return []  # a plain step clears what another sequence left in the slot
        rows = self._runtime.ahead.features[0]
        places = self._look_ahead(sequence)
        for step, place in enumerate(places):
            rows[step] = features(self._bundle, sequence, place)
        guesses = self._drafter.propose(sequence, rows[: len(places) - 1, 1:])
        offset = self._bundle.adapter.offsets["code"]
        for step, code in enumerate(guesses, 1):
            rows[step, 0] = offset + code
            places[step] = places[step]._replace(previous_code=code)
        last = len(guesses)
        rows[last + 1 :] = rows[last]  # what lies behind the last place is computed and taken back
        return places[: last + 1]

    def _look_ahead(self, sequence: Sequence) -> list[Place]:
        """The true step and those behind it that are in sight, whose codes are not known."""
        place, places = sequence.place, list[Place]()
        assert place is not None, "only where the next step's inputs are known"
        while place is not None and len(places) < self.steps:
            places.append(place)
            place = place_at(self._bundle, sequence.segments[0], place.step + 1, place.pointer, 0)
        return places
