"""Who may come in. It predicts a newcomer's first audio and what the machine can sustain, remembers lateness, and
keeps few in the works at once.

Pure functions over counts and predicted costs, and two small memories, of late chunks and of how fast codes are made;
the caller brings the times. It sees no sequences and never waits. Whoever cannot be served in time is refused at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engines.config import EngineConfig
from engines.cost_model import CostModel
from engines.scheduler import first_chunk

_JOB_CODES = 4  # codes a row in a vocoder job once a stream has some lead
_BACK_OFF = 0.9  # of the running streams, when one of them was served late
_GROWTH = 0.1  # share by which the limit grows in a second while nobody is late
_THIN_SHARE = 0.125  # of the running streams: where more are thin the machine hardly keeps up, whatever calls cost
_FEW = 8  # streams, thin or in the works, say nothing of the machine
_PACE_MEMORY_S = 1.0  # of the loop's own time
_EASE_S = 3.0  # in which the places go down to few, and come back
_CALM_S = 1.0  # without a refusal
_CROWDED = 0.5  # of what the costs allow: lateness with fewer streams was a hiccup of the machine, not their load


class Pace:
    """Codes that the loop makes in a second of its own time, everything in its rounds counted: calls, text, choices,
    waits for a core. Calls alone are some two thirds of it."""

    def __init__(self) -> None:
        self._codes = self._busy_s = 0.0

    def saw(self, codes: int, busy_s: float) -> None:
        """One round."""
        kept = math.exp(-busy_s / _PACE_MEMORY_S)
        self._codes, self._busy_s = kept * self._codes + codes, kept * self._busy_s + busy_s

    @property
    def codes_per_s(self) -> float:
        """Infinite until there is something to judge by."""
        if self._busy_s < _PACE_MEMORY_S / 4 or not self._codes:
            return math.inf
        return self._codes / self._busy_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    running: int  # sequences that hold a slot
    first_pending: int  # of them, those without audio
    mean_context: float  # steps in the cache, over running rows
    backlog: int = 0  # of the running, those there is work on now: not who waits for text, or has plenty in hand
    thin: int = 0  # of the running, those that have sounded for a while and have little in hand


class Admission:
    def __init__(self, config: EngineConfig, code_s: float, lm: CostModel, vocoder: CostModel) -> None:
        self._config, self._code_s, self._lm, self._vocoder = config, code_s, lm, vocoder
        self.pace = Pace()
        self._limit = float(config.slots)
        self._seen_at_s: float | None = None
        self._ease = 1.0  # share of the places at real time, beyond the few, that may be in the works
        self._refused, self._refused_at_s = False, -math.inf

    def capacity(self, load: Load) -> int:
        """Streams that can be kept at real time, all of them speaking; no more than now where these gain no lead."""
        most = min(self._config.slots, int(self._limit))
        most = int(min(most, self._paced(load)))
        if load.thin > max(_FEW, _THIN_SHARE * load.running):
            most = min(most, load.running)
        return self._affordable(most, load)

    def predicted_ttfa_s(self, load: Load) -> float:
        """Of one more stream: the calls under way, then its own and those of the newcomers before it."""
        config, newcomers = self._config, load.first_pending + 1
        codes = first_chunk(load.running + 1)
        lm_s = self._lm.predict_s(min(newcomers, config.max_batch), 0)
        under_way_s = min(config.lm_slice_s, self._lm.predict_s(min(load.running, config.max_batch), load.mean_context))
        rows = max(1, config.vocoder_job_codes // codes)
        jobs = -(-newcomers // rows)
        job_s = self._vocoder.predict_s(min(newcomers, rows), codes)
        waiting_s = self._vocoder.predict_s(max(1, rows // _JOB_CODES), _JOB_CODES) if load.running else 0.0
        return under_way_s + codes * lm_s * -(-newcomers // config.max_batch) + waiting_s + jobs * job_s

    def refusal(self, load: Load) -> str | None:
        """Why one more stream cannot be served in time; None when it can, and when nobody else is there to be harmed:
        a slow machine would otherwise serve nobody, and never learn that it can."""
        if not load.running and not load.first_pending:
            return None
        capacity = self.capacity(load)
        if load.running >= capacity:
            self._refused = True
            return f"{load.running} streams are running, this machine sustains {capacity}"
        predicted_s = self.predicted_ttfa_s(load)
        if predicted_s > self._config.max_ttfa_s:
            limit_ms = 1000 * self._config.max_ttfa_s
            return f"first audio would take {1000 * predicted_s:.0f} ms, the limit is {limit_ms:.0f} ms"
        return None

    def saw_late(self, load: Load) -> None:
        """A chunk came after its listener had run dry: if the machine was busy, with so many streams it does not work.

        What slows the machine for long shows in the costs; this is for what they do not see.
        """
        if load.running >= _CROWDED * self._affordable(self._config.slots, load):
            self._limit = max(1.0, min(self._limit, load.running * _BACK_OFF))

    def saw_time(self, now: float) -> None:
        """Once a round: the limit recovers; the places in the works go down while there are refusals, and come back."""
        if self._refused:
            self._refused, self._refused_at_s = False, now
        if self._seen_at_s is not None:
            passed_s = now - self._seen_at_s
            self._limit = min(float(self._config.slots), self._limit * (1.0 + passed_s * _GROWTH))
            kept = math.exp(-passed_s / _EASE_S)
            pressed = now - self._refused_at_s < _CALM_S
            self._ease = self._ease * kept if pressed else 1.0 - kept * (1.0 - self._ease)
        self._seen_at_s = now

    def _paced(self, load: Load) -> float:
        """What the loop's pace allows: streams at real time; of them, where some are refused anyway, few in the works.

        A machine that is never idle makes no more codes of many streams than of few, but then its calls are longer,
        each stream is done later, and has less in hand.
        """
        sustained = self.pace.codes_per_s * self._code_s
        if math.isinf(sustained):
            return sustained
        most = self._config.pace_headroom * sustained
        few = max(_FEW, sustained / self._config.least_speed)
        in_the_works = few + self._ease * max(0.0, most - few)
        return min(most, load.running + max(0.0, in_the_works - load.backlog))

    def _affordable(self, most: int, load: Load) -> int:
        """The largest number of streams, from 1 to `most`, whose calls leave the headroom free."""
        low, high = 1, max(1, most)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._utilisation(middle, load) <= 1.0 else (low, middle - 1)
        return low

    def _utilisation(self, streams: int, load: Load) -> float:
        """Share of each worker's time, over its headroom, that this many speaking streams need."""
        config = self._config
        most = self._lm.rows_within(config.lm_slice_s, load.mean_context, config.max_batch)
        calls = -(-streams // most)
        lm_s = calls * self._lm.predict_s(-(-streams // calls), load.mean_context)
        rows = max(1, config.vocoder_job_codes // _JOB_CODES)
        vocoder_s = streams / (rows * _JOB_CODES) * self._vocoder.predict_s(rows, _JOB_CODES)
        # The two workers overlap; without them one thread does both.
        busy_s = max(lm_s, vocoder_s) if config.workers else lm_s + vocoder_s
        return busy_s / self._code_s / config.headroom
