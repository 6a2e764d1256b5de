"""The LM's part of one turn of the loop: whose step it is, with drafts or without, and what comes of it.

The most urgent rows run, as many as the slice of time allows. A few rows may run with drafts, each in a call of its
own; more of them are faster in one plain call. Both ways make the same picks, unless `draft_tolerance` lets guesses
stand that are only near.
"""

from __future__ import annotations

from collections.abc import Callable

from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig
from engines.cost_model import CostModel
from engines.counters import Counters
from engines.decoding import Decoding, Outcome
from engines.drafters import Drafter
from engines.errors import EngineFault
from engines.kv_blocks import BlockPool
from engines.runtime.base import LmRuntime
from engines.scheduler import NO_AUDIO, Row, batch_runs, first_chunk, worth_decoding
from engines.sequence import Phase, Sequence
from engines.speculation import DraftSwitch, Speculation


def row_of(sequence: Sequence, now: float) -> Row:
    lead_s = sequence.spare_s(now, len(sequence.codes))
    return Row(slot=sequence.slot, lead_s=lead_s, arrived_s=sequence.submitted_s)


class LmTurn:
    def __init__(
        self,
        bundle: Bundle,
        config: EngineConfig,
        runtime: LmRuntime,
        drafter: Drafter | None,
        blocks: BlockPool,
        counters: Counters,
        cost: CostModel,
        clock: Callable[[], float],
    ) -> None:
        self._bundle, self._config, self._blocks, self._counters = bundle, config, blocks, counters
        self._cost, self._clock = cost, clock
        self._decoding = Decoding(bundle, runtime, counters, cost, clock)
        self._speculation: Speculation | None = None
        if drafter is not None and config.drafts is not DraftMode.OFF:
            self._speculation = Speculation(bundle, runtime, drafter, counters, clock, tolerance=config.draft_tolerance)
        self._switches = {rows: DraftSwitch() for rows in range(1, config.draft_rows + 1)}
        self._faults: list[tuple[Sequence, EngineFault]] = []

    def may_decode(self, sequence: Sequence) -> bool:
        """Whether its inputs and its memory are there, whatever its lead."""
        return (
            sequence.phase is Phase.RUNNING
            and not sequence.paused
            and sequence.ready
            and self._blocks.can_grow(sequence.slot, sequence.past + 1)
        )

    def reset(self, slot: int) -> None:
        """The slot's next step is the first of its cache."""
        self._decoding.reset(slot)

    def run(self, runnable: dict[int, Sequence], now: float) -> list[tuple[Sequence, EngineFault]]:
        """A step of the most urgent of `runnable`, by slot, all of which may decode. Returns those that failed."""
        rows = [row_of(one, now) for one in runnable.values()]
        rows = worth_decoding(rows, low_water_s=self._config.low_water_s, lead_cap_s=self._config.lead_cap_s)
        chosen = [runnable[row.slot] for row in rows]
        self._faults = []
        if self._speculation is None or len(rows) > self._config.draft_rows:
            self._plain(rows, runnable)
        elif self._config.drafts is DraftMode.ON:
            self._drafted_or_plain(chosen)
        else:
            self._faster(chosen, rows, runnable)
        self._hurry([runnable[row.slot] for row in rows if row.lead_s == NO_AUDIO], len(runnable))
        return self._faults

    def _faster(self, chosen: list[Sequence], rows: list[Row], runnable: dict[int, Sequence]) -> None:
        """With drafts or without, as the switch says, and timed so that it learns."""
        switch, started_s, before = self._switches[len(chosen)], self._clock(), self._counters.tokens
        if switch.on:
            self._drafted_or_plain(chosen)
        else:
            self._plain(rows, runnable)
        made = self._counters.tokens - before
        if made:
            switch.observe(made, self._clock() - started_s)

    def _hurry(self, newcomers: list[Sequence], running: int) -> None:
        """Gives those without audio the rest of their first chunk with drafts, in the same turn: step by step each code
        would cost them a turn of everybody."""
        if self._speculation is None or not (self._config.drafts is DraftMode.ON or self._switches[1].best):
            return
        wanted = first_chunk(running)
        left = sorted(newcomers, key=lambda one: one.submitted_s)
        for _ in range(wanted):  # a call gives at least one code
            failed = [sequence for sequence, _ in self._faults]
            left = [one for one in left if 0 < len(one.codes) < wanted and one not in failed and self.may_decode(one)]
            left = left[: self._config.draft_rows]
            undone = self._drafted(left)
            left = [one for one in left if one not in undone]

    def _plain(self, rows: list[Row], runnable: dict[int, Sequence]) -> None:
        config = self._config
        context = sum(runnable[row.slot].past for row in rows) / max(1, len(rows))
        waited_for = any(row.lead_s == NO_AUDIO for row in rows)
        slice_s = config.first_slice_s if waited_for else config.lm_slice_s
        runs = batch_runs(rows, self._cost.rows_within(slice_s, context, config.max_batch))
        for first, last in runs:
            for slot in range(first, last):
                if slot in runnable:
                    self._blocks.grow(slot, runnable[slot].past + 1)
        for sequence, outcome in self._decoding.run(runnable, runs):
            self._commit(sequence, outcome)

    def _drafted_or_plain(self, chosen: list[Sequence]) -> None:
        if plain := self._drafted(chosen):
            now = self._clock()
            self._plain([row_of(one, now) for one in plain], {one.slot: one for one in plain})

    def _drafted(self, chosen: list[Sequence]) -> list[Sequence]:
        """Returns those for whom nothing could be guessed and nothing was done."""
        assert self._speculation is not None, "drafts need a drafter"
        plain = []
        for sequence in chosen:
            after = sequence.past + self._speculation.steps
            if after > self._bundle.adapter.max_steps or not self._blocks.can_grow(sequence.slot, after):
                plain.append(sequence)
                continue
            self._blocks.grow(sequence.slot, after)
            started_s = self._clock()
            drafted = self._speculation.run(sequence, self._commit)
            self._counters.draft_step_s.observe(self._clock() - started_s)
            if drafted:
                self._decoding.keep_clear(sequence)
            else:
                plain.append(sequence)
        return plain

    def _commit(self, sequence: Sequence, outcome: Outcome) -> bool:
        """Whether the pick stands and the sequence goes on."""
        if isinstance(outcome, EngineFault):
            self._faults.append((sequence, outcome))
            return False
        segments_before = sequence.segments_done
        try:
            sequence.take_code(outcome)
        except Exception as error:  # its next durations are planned there
            self._faults.append((sequence, EngineFault(f"what follows could not be planned: {error}")))
            return False
        self._counters.tokens += 1
        if sequence.segments_done != segments_before:
            self._blocks.release(sequence.slot)
        return True
