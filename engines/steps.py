"""Runs one item of a plan at the Talker, and commits what stands.

Between two items a sequence may end and its slot go to another: each item looks again who can still run. When a call
fails its rows are called one by one, so that only those with which it fails end; a row whose values are not finite gets
a fault of its own.

Where the Talker can, a step is launched before the last one is read, so that a device computes while the host commits,
plans and emits (docs/decisions/0020). A frame depends on its seed and place alone: it is committed when it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from engines.config import EngineConfig
from engines.counters import Counters
from engines.errors import EngineFault, ParlandoError
from engines.families.base import FloatArray, Frames, Pending, Row, Rows, ScriptState, Steps, Talker
from engines.families.capabilities import LaunchesAhead
from engines.runtime.base import IntArray
from engines.scheduling.device_profile import DeviceProfile
from engines.scheduling.policy import Prefill, Step
from engines.sequence import Phase, Sequence
from engines.speculation import Speculation, Verified, of_rows

_PREFILL_BLOCK = 8  # from here on the runtime has the bits of one call, however a prompt is cut
_NOT_FINITE = EngineFault("the speech model returned values that are not finite")


@dataclass(slots=True)
class Made:
    """What one item of a plan, or a round of reading, has done."""

    stepped: list[Sequence] = field(default_factory=list)  # once for each frame
    read: list[Sequence] = field(default_factory=list)  # or prefilled: they may have spoken all there is
    ready: list[Sequence] = field(default_factory=list)  # that can run only now
    failed: list[tuple[Sequence, ParlandoError]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.stepped or self.read or self.failed)


class _Launched(NamedTuple):
    """A step under way."""

    batch: list[Sequence]
    slots: IntArray
    lengths: IntArray  # positions that each holds once the steps before are committed
    pending: Pending[Steps]

    def wait(self) -> Steps:
        for one in self.batch:
            one.in_flight -= 1
        return self.pending.wait()


class StepRunner:
    def __init__(
        self,
        talker: Talker,
        speculation: Speculation | None,
        config: EngineConfig,
        counters: Counters,
        profile: DeviceProfile,
        clock: Callable[[], float],
    ) -> None:
        self._talker, self._speculation, self._config = talker, speculation, config
        self._counters, self._profile, self._clock = counters, profile, clock
        self._made = Made()
        self._launches_ahead = isinstance(talker, LaunchesAhead) and talker.launches_ahead
        self.in_flight: _Launched | None = None  # a step that is not read yet

    @property
    def drafts(self) -> tuple[bool, ...]:
        """Whether drafts pay for 1, 2, ... rows; beyond these drafting is not thought of."""
        return self._speculation.pays if self._speculation is not None else ()

    def run(self, item: Prefill | Step | None) -> Made:
        """None: only the step in flight is read."""
        self._made = made = Made()
        ahead = self._launches_ahead and isinstance(item, Step) and item.ahead and not item.drafts
        if self.in_flight and not ahead:
            self._advance([])
        if isinstance(item, Prefill):
            self._prefill([one for one in item.streams if one.can_prefill])
        if not isinstance(item, Step):
            return made
        sequences, started_s, landed = [one for one in item.streams if one.can_step], self._clock(), len(made.stepped)
        if ahead and self._advance(sequences):
            sequences = []
        while sequences:
            plain = self._drafted(sequences) if item.drafts else sequences
            if plain:
                self._decode(plain)
            failed = [one for one, _ in made.failed]
            sequences = [one for one in sequences if one.can_step and one not in failed and _goes_on(one, item)]
        if item.drafts is not None and self._speculation is not None and (frames := len(made.stepped) - landed):
            seconds = self._clock() - started_s
            self._speculation.observe(len(item.streams), drafted=item.drafts, frames=frames, seconds=seconds)
        return made

    # -- prefill -----------------------------------------------------------------------------------------------------

    def _prefill(self, sequences: list[Sequence]) -> None:
        """A block of each prompt, all in one call."""
        if not sequences:
            return
        most = max(1, self._config.prefill_positions // len(sequences) // _PREFILL_BLOCK) * _PREFILL_BLOCK
        self._prefill_rows(sequences, [one.script.prompt(most) for one in sequences])

    def _prefill_rows(self, sequences: list[Sequence], prompts: Items[Items[Row]]) -> None:
        counts = [len(prompt) for prompt in prompts]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        try:
            self._begin(sequences)
            rows = np.concatenate([_rows(prompt) for prompt in prompts])
            slots, lengths, *_ = of_rows(sequences)
            is_finite = self._talker.prefill(slots, rows, offsets, lengths).wait()
        except Exception as error:
            if len(sequences) > 1:
                for sequence, prompt in zip(sequences, prompts, strict=True):
                    self._prefill_rows([sequence], [prompt])
            else:
                self._made.failed.append((sequences[0], EngineFault(f"the speech model failed: {error}")))
            return
        self._counters.prefilled_positions += int(offsets[-1])
        self._made.read += sequences
        for sequence, count, finite in zip(sequences, counts, is_finite.tolist(), strict=True):
            sequence.prefilled(count)
            if not finite:
                self._made.failed.append((sequence, _NOT_FINITE))

    # -- decode ------------------------------------------------------------------------------------------------------

    def _decode(self, sequences: list[Sequence]) -> None:
        """One step of each."""
        by_slot = {one.slot: one for one in sequences if one.slot is not None}
        for group in self._talker.groups([*by_slot], (), self._profile.rows_of_a_call()):
            self._call([by_slot[slot] for slot in group])

    def _call(self, batch: list[Sequence]) -> None:
        started_s = self._clock()
        try:
            launched = self._launch({one: one.script.row() for one in batch})
            steps = launched.wait()
        except Exception as error:  # whatever the backend raises belongs to one of these rows, not to the loop
            if len(batch) > 1:
                for one in batch:
                    self._call([one])
            else:
                self._made.failed.append((batch[0], EngineFault(f"the speech model failed: {error}")))
            return
        self._read(launched, steps, started_s)

    def _launch(self, rows: dict[Sequence, Row]) -> _Launched:
        """One step of each, behind those under way."""
        batch = [*rows]
        self._begin(batch)
        (slots, lengths, sampling, keys), inputs = of_rows(batch), _rows([*rows.values()])[:, None]
        pending = self._talker.step(slots, inputs, np.ones(len(batch), np.int64), lengths, sampling, keys, None)
        for one in batch:
            one.in_flight += 1
        return _Launched(batch, slots, lengths, pending)

    def _read(self, launched: _Launched, steps: Steps, started_s: float) -> None:
        """Commits each row, unless its sequence has ended or its segment did with the step before."""
        batch, slots, lengths, _ = launched
        counters, busy_s = self._counters, self._clock() - started_s
        counters.lm_busy_s += busy_s
        counters.lm_step_s.observe(busy_s)
        counters.batch_rows.observe(len(batch))
        counters.lm_steps += 1
        counters.lm_rows += len(batch)
        spread = int(slots.max() - slots.min()) + 1
        counters.lm_idle_rows += spread - len(batch)
        counters.predicted_s += self._profile.step_s(spread)
        scores, is_finite = steps.end_scores[:, 0].tolist(), steps.is_finite[:, 0].tolist()
        probes = [None] * len(batch) if steps.probes is None else steps.probes[:, 0]
        rows = zip(batch, steps.frames[:, 0], scores, is_finite, probes, strict=True)
        for (sequence, *made), length in zip(rows, lengths.tolist(), strict=True):
            if sequence.phase is Phase.RUNNING and sequence.length == length:
                self._commit(sequence, *made)

    def _begin(self, sequences: list[Sequence]) -> None:
        for one in sequences:
            if one.length is None:
                assert one.slot is not None, "only sequences with a slot run"
                one.begin(self._talker.begin(one.slot, one.script.prefix))

    def _advance(self, batch: list[Sequence]) -> bool:
        """Launches a step of each, then reads the one that was launched before. False where there is none."""
        started_s, first = self._clock(), self.in_flight or self._try_launch(batch)
        self.in_flight = first and self._try_launch(batch)
        if first is None:
            return False
        try:
            steps = first.wait()
        except Exception as error:  # the device's, since it had been launched: what the slots hold is not known
            fault = EngineFault(f"the speech model failed: {error}")
            self._made.failed += [(one, fault) for one in first.batch if one.phase is Phase.RUNNING]
        else:
            self._read(first, steps, started_s)
        return True

    def _try_launch(self, batch: list[Sequence]) -> _Launched | None:
        """Of those whose next row is known, behind the step in flight."""
        try:
            rows = {one: row for one in batch for row in one.script.peek(one.in_flight + 1)[one.in_flight :]}
            return self._launch(rows) if rows else None
        except Exception:  # whatever the backend raises: a step by itself, which comes next, says what it is
            return None

    # -- drafts ------------------------------------------------------------------------------------------------------

    def _drafted(self, sequences: list[Sequence]) -> list[Sequence]:
        """Verifies drafts of each, as many in a call as it takes. Returns those for which nothing could be guessed and
        nothing was done."""
        assert self._speculation is not None, "drafts need a drafter"
        plain, most = list[Sequence](), self._config.verify_rows
        for at in range(0, len(sequences), most):
            some, started_s = sequences[at : at + most], self._clock()
            verified = self._speculation.verify(some)
            if verified:
                self._counters.draft_step_s.observe(self._clock() - started_s)
            kept = [one.sequence for one in verified if self._commit_verified(one)]
            if kept:
                slots, lengths, *_ = of_rows(kept)
                self._talker.keep(slots, lengths, np.stack([one.frames[-1] for one in kept]))
            done = {id(one.sequence) for one in verified}
            plain += [one for one in some if id(one) not in done]
        return plain

    def _commit_verified(self, verified: Verified) -> bool:
        """The sampled frames as long as the drafts before them stand. Whether the segment goes on."""
        assert self._speculation is not None
        sequence, drafted, steps, row = verified
        sampled, probes, slot = steps.frames[row], steps.probes, sequence.slot
        scores, is_finite = steps.end_scores[row].tolist(), steps.is_finite[row].tolist()
        equal = (drafted == sampled[: len(drafted)]).all(axis=1).tolist()
        for step in range(len(drafted) + 1):
            stands = step < len(drafted) and is_finite[step]
            stands = stands and (equal[step] or self._speculation.stands(drafted[step], sampled[step]))
            frame = drafted[step] if stands else sampled[step]
            probe = None if probes is None else probes[row, step]
            if not self._commit(sequence, frame, scores[step], is_finite[step], probe) or not stands:
                break
            if sequence.script.state is not ScriptState.READY:
                break
            self._counters.drafts_accepted += equal[step]
            self._counters.drafts_tolerated += not equal[step]
        return sequence.length is not None and sequence.slot == slot

    def _commit(
        self, sequence: Sequence, frame: Frames, end_score: float, is_finite: bool, probe: FloatArray | None
    ) -> bool:
        """Whether the frame stands and its segment goes on."""
        if not is_finite:
            self._made.failed.append((sequence, _NOT_FINITE))
            return False
        try:
            goes_on = sequence.commit(frame, end_score, probe)
        except Exception as error:  # its next rows are planned there
            self._made.failed.append((sequence, EngineFault(f"what follows could not be planned: {error}")))
            return False
        self._counters.frames += 1
        self._made.stepped.append(sequence)
        return goes_on


def _goes_on(sequence: Sequence, item: Step) -> bool:
    """Whether it has begun and its first chunk is not whole."""
    begun = 0 < sequence.made < sequence.quiet_frames + item.first_chunk
    return begun and not sequence.sounds and not sequence.stands_back


def _rows(rows: Items[Row]) -> Rows:
    """[N, R]; R may be 0."""
    return np.array(rows, np.int64).reshape(len(rows), len(rows[0]))
