"""The LM's part of the loop: a plan of calls, made one at a time, so that the loop can attend in between.

A plan is for the most urgent rows, as many as the slice of time allows. Newcomers come first, a few of them together
in a call that makes all of their first chunks; then a call for each range of slots, the most urgent first, or several
where it is long: whoever comes waits for the end of the one under way. A few rows
are one call, with drafts where they pay, and so is then the rest of each one's first chunk; more of them are
faster in plain calls. Both ways make the same picks, unless `draft_tolerance` lets guesses stand that are only near.

    plan     newcomers a, b, c | range | range

Between two calls a sequence may end and its slot may be given away: each call looks again who is left. A plan may be
dropped at any time, since the next one goes by lead again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig
from engines.counters import Counters
from engines.decoding import Decoding, Outcome
from engines.errors import EngineFault
from engines.families.phone_pointer.forecast import Drafter
from engines.kv_blocks import BlockPool
from engines.runtime.base import LmRuntime
from engines.scheduling.device_profile import DeviceProfile
from engines.scheduling.policy import NO_AUDIO, Marks, Row, batch_runs, first_chunk, is_sated, worth_decoding
from engines.sequence import Phase, Sequence
from engines.speculation import DraftSwitch, Speculation

_NEWCOMERS = 4  # in one call


@dataclass(frozen=True, slots=True)
class Called:
    """What one call has done."""

    stepped: list[Sequence] = field(default_factory=list)  # once for each code
    failed: list[tuple[Sequence, EngineFault]] = field(default_factory=list)


_Call = tuple[Callable[[list[Sequence]], None], list[Sequence]]  # how, and for whom


class LmTurn:
    def __init__(
        self,
        bundle: Bundle,
        config: EngineConfig,
        runtime: LmRuntime,
        drafter: Drafter | None,
        blocks: BlockPool,
        counters: Counters,
        profile: DeviceProfile,
        clock: Callable[[], float],
    ) -> None:
        self._bundle, self._config, self._blocks, self._counters = bundle, config, blocks, counters
        self._profile, self._clock = profile, clock
        self._decoding = Decoding(bundle, runtime, counters, profile, clock)
        self._speculation: Speculation | None = None
        if drafter is not None and config.drafts is not DraftMode.OFF:
            self._speculation = Speculation(bundle, runtime, drafter, counters, clock, tolerance=config.draft_tolerance)
        self._switches = {rows: DraftSwitch() for rows in range(1, config.draft_rows + 1)}
        self._plan: deque[_Call] = deque()
        self._marks = Marks.of(bundle.code_s)
        self._first_chunk = first_chunk(crowded=False)  # codes, beside as many as ran when the plan was made
        self._done = Called()

    def may_decode(self, sequence: Sequence) -> bool:
        """Whether its inputs and its memory are there, whatever its lead."""
        return (
            sequence.phase is Phase.RUNNING
            and not sequence.paused
            and sequence.ready
            and self._blocks.can_grow(sequence.slot, sequence.past + 1)
        )

    def runnable(self, sequence: Sequence, now: float) -> bool:
        """Whether more codes of it may be made now."""
        return self.may_decode(sequence) and sequence.above_cap_s(now) <= 0

    def reset(self, slot: int) -> None:
        """The slot's next step is the first of its cache."""
        self._decoding.reset(slot)

    # -- the plan --------------------------------------------------------------------------------------------------

    def has_rows(self, sequences: Collection[Sequence], now: float) -> bool:
        """Whether a plan made now would have a call."""
        return bool(worth_decoding(list(self._rows(sequences, now)), self._marks))

    def plan(self, sequences: Collection[Sequence], now: float) -> None:
        """The next calls, for the most urgent of `sequences`; none where none is worth decoding."""
        found = self._rows(sequences, now)
        rows = worth_decoding(list(found), self._marks)
        self._plan.clear()
        if self._speculation is not None and 0 < len(rows) <= self._config.draft_rows:
            self._plan.append((self._few, [found[row] for row in rows]))
            return
        newcomers = sorted((row for row in rows if row.lead_s == NO_AUDIO), key=lambda row: row.urgency)
        for first in range(0, len(newcomers), _NEWCOMERS):
            self._plan.append((self._beginning, [found[row] for row in newcomers[first : first + _NEWCOMERS]]))
        others = [row for row in rows if row.lead_s != NO_AUDIO]
        self._plan.extend((self._range, one) for one in self._ranges(others, found))

    def became_ready(self, sequence: Sequence, now: float) -> None:
        """By its text, by a slot, or by its reader. Whoever has waited for it does not wait for other people's calls
        too."""
        if self._plan and self.may_decode(sequence) and self._marks.is_urgent(self._row(sequence, now).lead_s):
            self._plan.clear()

    def call(self) -> Called | None:
        """The plan's next call for those who are left of it; None when the plan is used up."""
        self._done = Called()
        while self._plan:
            run, planned = self._plan.popleft()
            if left := [one for one in planned if self.may_decode(one)]:
                run(left)
            if self._done.stepped or self._done.failed:
                return self._done
        return None

    def _rows(self, sequences: Collection[Sequence], now: float) -> dict[Row, Sequence]:
        """Of all that are runnable."""
        running = sum(one.phase is Phase.RUNNING for one in sequences)
        self._first_chunk = first_chunk(crowded=self._profile.is_crowded(running))
        return {self._row(one, now): one for one in sequences if self.runnable(one, now)}

    def _row(self, sequence: Sequence, now: float) -> Row:
        codes = len(sequence.codes)
        lead_s = sequence.spare_s(now, codes)
        if lead_s == NO_AUDIO and codes >= sequence.quiet_codes + self._first_chunk:
            lead_s = codes * self._bundle.code_s  # it waits for the vocoder, and nobody at the LM for it
        return Row(slot=sequence.slot, lead_s=lead_s, arrived_s=sequence.submitted_s, pending=sequence.pending)

    def _ranges(self, rows: list[Row], found: dict[Row, Sequence]) -> list[list[Sequence]]:
        """Whom to step in each call, by slot, within the slice of time: `rows`, the most urgent first, and whoever of
        `found` lies between them."""
        most = self._profile.rows_within(self._marks.slice_s, self._config.max_batch)
        enough = self._profile.efficient_rows(self._config.max_batch)
        # Who lies between wanted rows and can use a step gets one: it is computed anyway.
        by_slot = {row.slot: one for row, one in found.items() if not is_sated(row)}
        calls = []
        for first, last in batch_runs(rows, most, self._profile.rows_of_a_call()):
            range_of = [by_slot[slot] for slot in range(first, last) if slot in by_slot]
            parts = max(1, round(len(range_of) / enough))
            ends = [at * len(range_of) // parts for at in range(parts + 1)]
            calls += [range_of[one:other] for one, other in pairwise(ends)]
        return calls

    # -- ways to call ----------------------------------------------------------------------------------------------

    def _range(self, sequences: list[Sequence]) -> None:
        """One plain call from the first to the last of them, which are in the order of their slots."""
        self._step(sequences, [(sequences[0].slot, sequences[-1].slot + 1)])

    def _beginning(self, newcomers: list[Sequence]) -> None:
        """All of some newcomers' first chunks, together and without a round between: each code of it would cost them
        one. They are few, so that the next newcomer does not wait for long."""
        self._plain(newcomers)
        while newcomers := self._unfinished(newcomers):
            self._plain(newcomers)

    def _few(self, sequences: list[Sequence]) -> None:
        """With drafts or without, as the switch says, and timed so that it learns."""
        if self._config.drafts is DraftMode.ON:
            self._drafted_or_plain(sequences)
        else:
            switch, started_s, before = self._switches[len(sequences)], self._clock(), self._counters.tokens
            if switch.on:
                self._drafted_or_plain(sequences)
            else:
                self._plain(sequences)
            if made := self._counters.tokens - before:
                switch.observe(made, self._clock() - started_s)
        if newcomers := self._unfinished(sequences):
            self._hurry(newcomers)

    def _hurry(self, newcomers: list[Sequence]) -> None:
        """The rest of their first chunks at once, since a round between two codes costs more than a code. With drafts
        where they pay: then only the first one's, and the others before the rest of the plan, so that the first is at
        the vocoder before the next one's turn."""
        if self._speculation is None or not (self._config.drafts is DraftMode.ON or self._switches[1].best):
            self._beginning(newcomers)
            return
        first, *others = sorted(newcomers, key=lambda one: one.submitted_s)
        self._plan.extendleft((self._hurried, [one]) for one in reversed(others))
        self._hurried([first])

    def _unfinished(self, sequences: list[Sequence]) -> list[Sequence]:
        """The newcomers among them with a part of their first chunk, who can go on."""
        failed = [sequence for sequence, _ in self._done.failed]
        return [one for one in sequences if self._wants_more(one) and one not in failed and self.may_decode(one)]

    def _hurried(self, newcomer: list[Sequence]) -> None:
        """Drafted calls for one, as long as they bring something and the chunk is not whole."""
        while newcomer and not self._drafted(newcomer):
            newcomer = self._unfinished(newcomer)

    def _wants_more(self, sequence: Sequence) -> bool:
        """Whether it is a newcomer with a part of its first chunk."""
        new = sequence.first_chunk_s is None and not sequence.stands_back
        return new and 0 < len(sequence.codes) < sequence.quiet_codes + self._first_chunk

    def _plain(self, sequences: list[Sequence]) -> None:
        """A step of each of a few."""
        now = self._clock()
        rows, gap = [self._row(one, now) for one in sequences], self._profile.rows_of_a_call()
        self._step(sequences, batch_runs(rows, self._config.max_batch, gap))

    def _step(self, sequences: list[Sequence], ranges: list[tuple[int, int]]) -> None:
        by_slot = {one.slot: one for one in sequences}
        for sequence in sequences:
            self._blocks.grow(sequence.slot, sequence.past + 1)
        for sequence, outcome in self._decoding.run(by_slot, ranges):
            self._commit(sequence, outcome)

    def _drafted_or_plain(self, sequences: list[Sequence]) -> None:
        if plain := self._drafted(sequences):
            self._plain(plain)

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
            self._done.failed.append((sequence, outcome))
            return False
        segments_before = sequence.segments_done
        try:
            sequence.take_code(outcome)
        except Exception as error:  # its next durations are planned there
            self._done.failed.append((sequence, EngineFault(f"what follows could not be planned: {error}")))
            return False
        self._counters.tokens += 1
        self._done.stepped.append(sequence)
        if sequence.segments_done != segments_before:
            self._blocks.release(sequence.slot)
        return True
