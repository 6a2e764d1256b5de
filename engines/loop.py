"""The engine loop: drain the inbox, plan, run, commit, emit.

One thread calls `step` and `wait`; only it changes sequences, blocks and slots. `submit` may be called from any
thread. There is one `_release`; when nothing is left to do the pools are counted, and a leak raises. What goes wrong
with one sequence ends that sequence.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from engines.admission import Admission, Load
from engines.bell import Bell, Readable
from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig, check_draft_tolerance, check_submit
from engines.cost_model import CostModel, CostShape
from engines.counters import Counters
from engines.drafters import Drafter, ForecastDrafter
from engines.errors import (
    BadParameter,
    BundleError,
    ConfigError,
    EngineFault,
    IntegrityError,
    Overloaded,
    ParlandoError,
)
from engines.kv_blocks import BLOCK_TOKENS, BlockPool
from engines.lm_turn import LmTurn, row_of
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    Command,
    EndText,
    EngineStats,
    Event,
    Failed,
    Finished,
    Flush,
    SetPaused,
    StandBack,
    Started,
    Submit,
    WaitingForText,
)
from engines.runtime.base import DurationRuntime, LmRuntime, VocoderRuntime
from engines.runtime.onnx import OnnxDrafts, OnnxDurations, OnnxLm, OnnxVocoder
from engines.scheduler import chunk_codes, is_urgent
from engines.sequence import Phase, Sequence
from engines.slots import SlotPool
from engines.text import NUM_PHONE_IDS, FrontEnd
from engines.timetable import Planner
from engines.vocoding import Vocoded, VocoderRow, Vocoding

__all__ = ["Engine", "EngineConfig"]

_TEXT_SLICE_CHARS = 64  # of one sequence a step: enough to begin with
_RETRY_AFTER_S = 1.0  # no stream ends sooner than its audio; a second is the least worth telling
# Of one AVX-512 core and the shipped voice; a few calls on the real machine set them right.
_LM_SHAPE = CostShape(base_s=250e-6, row_s=60e-6, unit_s=0.55e-6)  # a unit is a step of context
_VOCODER_SHAPE = CostShape(base_s=300e-6, row_s=60e-6, unit_s=150e-6)  # a unit is a code


class Engine:
    def __init__(
        self,
        bundle: Bundle,
        config: EngineConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        front_end: FrontEnd | None = None,
        lm: LmRuntime | None = None,
        vocoder: VocoderRuntime | None = None,
        drafter: Drafter | None = None,
        durations: DurationRuntime | None = None,
    ) -> None:
        if bundle.adapter.num_phone_ids != NUM_PHONE_IDS:
            found = bundle.adapter.num_phone_ids
            raise BundleError(f"adapter.num_phone_ids is {found}, the text front end speaks {NUM_PHONE_IDS}")
        self.bundle = bundle
        self.config = config or EngineConfig()
        check_draft_tolerance(self.config.draft_tolerance, bundle)
        self._clock = clock
        self._front_end = front_end or FrontEnd.load()
        self._inbox: deque[Command] = deque()
        self._news = Bell()
        self._sequences: dict[str, Sequence] = {}
        self._slots = SlotPool(self.config.slots)
        blocks = -(-bundle.adapter.max_steps // BLOCK_TOKENS)
        self._blocks = BlockPool(self.config.slots * blocks)
        self._counters = Counters()
        self._events: list[Event] = []
        self._planner = Planner(bundle, durations or OnnxDurations(bundle, self.config.lm_threads))
        lm = lm or OnnxLm(bundle, self.config.slots, self.config.lm_threads, self.config.own_kernels)
        self._kernels = lm.kernels
        self._lm_cost, self._vocoder_cost = CostModel(_LM_SHAPE), CostModel(_VOCODER_SHAPE)
        self._admission = Admission(self.config, bundle.code_s, self._lm_cost, self._vocoder_cost)
        if drafter is None and bundle.drafts is not None and self.config.drafts is not DraftMode.OFF:
            drafter = ForecastDrafter(bundle, OnnxDrafts(bundle, self.config.lm_threads, self.config.own_kernels))
        if drafter is not None and (bundle.drafts is None or drafter.length > bundle.drafts.length):
            most = bundle.drafts.length if bundle.drafts else 0
            raise ConfigError(f"the drafter guesses {drafter.length} steps, the bundle's graph checks {most}")
        self._lm_turn = LmTurn(bundle, self.config, lm, drafter, self._blocks, self._counters, self._lm_cost, clock)
        self._vocoding = Vocoding(
            bundle,
            vocoder or OnnxVocoder(bundle, self.config.vocoder_threads),
            self.config.slots,
            self._news.ring if self.config.workers else None,
            clock,
        )

    # -- the door --------------------------------------------------------------------------------------------------

    def submit(self, command: Command) -> None:
        """Any thread. Answers come out of `step`."""
        self._inbox.append(command)
        self._news.ring()

    def wait(self, timeout_s: float | None = None, *files: Readable) -> None:
        """Sleeps until there is a command, a finished vocoder job, a lead that has come down to its cap, a first code
        that waits no longer for words, or something to read from `files`."""
        now = self._clock()
        due_s = [one.above_cap_s(now) for one in self._sequences.values() if self._lm_turn.may_decode(one)]
        due_s += [one.words_expected_s(now) for one in self._sequences.values() if one.words_expected_s(now) > 0]
        limits = [seconds for seconds in (timeout_s, *due_s) if seconds is not None]
        self._news.wait(max(0.0, min(limits)) if limits else None, *files)

    def close(self) -> None:
        self._vocoding.close()
        self._news.close()

    @property
    def has_work(self) -> bool:
        """Whether a step would do something now; otherwise `wait`."""
        if self._inbox or self._news.rung or self._vocoding.has_finished:
            return True
        now = self._clock()
        return any(one.readable or self._runnable(one, now) for one in self._sequences.values()) or (
            bool(self._next_job(now)[0])
        )

    def step(self) -> list[Event]:
        """One turn, both halves of it. Returns what happened, in order."""
        return self.attend() + self.advance()

    def attend(self) -> list[Event]:
        """The first half of a turn: commands, text, finished audio. What it returns need not wait for the LM's call."""
        self._news.clear()
        self._admission.saw_time(self._clock())
        self._drain()
        self._read_text()
        self._collect()
        self._dispatch()
        self._collect()
        return self._take_events()

    def advance(self) -> list[Event]:
        """The second half: a call of the LM, and what comes of it."""
        if self._decode():
            self._collect()
            self._dispatch()
        self._collect()
        self._tell_starved()
        if not self._sequences:
            self.check_integrity()
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stats(self) -> EngineStats:
        phases, load = [one.phase for one in self._sequences.values()], self._load()
        return EngineStats(
            running=phases.count(Phase.RUNNING),
            waiting=phases.count(Phase.WAITING),
            slots=self.config.slots,
            kv_blocks_used=self._blocks.total - self._blocks.free,
            kv_blocks_total=self._blocks.total,
            lm_steps=self._counters.lm_steps,
            lm_busy_s=self._counters.lm_busy_s,
            vocoder_busy_s=self._counters.vocoder_busy_s,
            capacity=self._admission.capacity(load),
            predicted_ttfa_s=self._admission.predicted_ttfa_s(load),
            kernels=self._kernels,
            vocoder_job_s=self._vocoding.job_s,
            counters=self._counters.named(),
            tallies=self._counters.tallies(),
        )

    def check_integrity(self) -> None:
        """free + leased == total, for slots and blocks, and as many slots as sequences; IntegrityError otherwise."""
        self._slots.check()
        self._blocks.check()
        leased = sum(one.phase is not Phase.WAITING for one in self._sequences.values())
        if self._slots.count - self._slots.free != leased:
            raise IntegrityError(f"{leased} sequences hold {self._slots.count - self._slots.free} slots")

    # -- inbox -----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._inbox:
            command = self._inbox.popleft()
            if isinstance(command, Submit):
                self._admit(command)
                continue
            sequence = self._sequences.get(command.request_id)
            if sequence is None or sequence.phase is Phase.DRAINING:
                continue  # ended already; its last message is on the way
            match command:
                case Append(text=text):
                    sequence.add_text(text, self._clock())
                case Flush() | EndText():
                    sequence.add_text(command, self._clock())
                case SetPaused(paused=paused):
                    sequence.paused = paused
                    sequence.had_to_wait = True
                case StandBack():
                    sequence.stands_back = True
                case Cancel():
                    self._counters.cancelled += 1
                    self._events.append(Cancelled(request_id=sequence.request.request_id, samples=sequence.samples))
                    self._release(sequence)

    def _admit(self, submit: Submit) -> None:
        try:
            if submit.request_id in self._sequences:
                raise BadParameter(f"request id {submit.request_id!r} is in use")
            voice = check_submit(submit, self.bundle)
            self._check_room()
        except ParlandoError as error:
            self._refuse(submit.request_id, error)
            return
        self._sequences[submit.request_id] = Sequence(
            submit, voice, self.bundle, self._front_end, self._planner, self._clock()
        )
        self._assign_slots()

    def _check_room(self) -> None:
        """Raises Overloaded."""
        phases = [one.phase for one in self._sequences.values()]
        # A cancelled row that the vocoder still holds comes back within the step: its successor may wait for it.
        places = self.config.max_waiting + phases.count(Phase.DRAINING)
        full = not self._slots.free and phases.count(Phase.WAITING) >= places
        reason = self._admission.refusal(self._load()) if self.config.sheds else None
        reason = f"all {self.config.slots} streams are in use" if full else reason
        if reason is not None:
            raise Overloaded(reason, _RETRY_AFTER_S)

    def _load(self) -> Load:
        now = self._clock()
        running = [one for one in self._sequences.values() if one.phase is not Phase.DRAINING and one.speaks(now)]
        pending = sum(one.first_chunk_s is None and bool(one.unread or one.segments) for one in running)
        steps, thin = sum(one.past for one in running), sum(one.thin(now) for one in running)
        context = steps / max(1, len(running))
        return Load(running=len(running), first_pending=pending, mean_context=context, thin=thin)

    def _refuse(self, request_id: str, error: ParlandoError) -> None:
        self._counters.failed += 1
        later_s = error.retry_after_s if isinstance(error, Overloaded) else None
        failed = Failed(request_id=request_id, code=error.code, message=str(error), retry_after_s=later_s)
        self._events.append(failed)

    def _read_text(self) -> None:
        """Reads a slice of what has come for each sequence, the most urgent first, within the step's budget."""
        left, now = self.config.text_chars, self._clock()
        unread = [one for one in self._sequences.values() if one.readable]
        for sequence in sorted(unread, key=lambda one: row_of(one, now).urgency):
            try:
                left -= sequence.read(min(left, _TEXT_SLICE_CHARS))
            except ParlandoError as error:
                self._fail(sequence, error)
            except Exception as error:  # no text may take the other streams with it
                self._fail(sequence, EngineFault(f"the text could not be read: {error!r}"))
            if left <= 0:
                return

    # -- ownership -------------------------------------------------------------------------------------------------

    def _assign_slots(self) -> None:
        for sequence in self._sequences.values():
            if sequence.phase is not Phase.WAITING:
                continue
            slot = self._slots.allocate()
            if slot is None:
                return
            sequence.slot, sequence.phase, sequence.started_s = slot, Phase.RUNNING, self._clock()
            self._lm_turn.reset(slot)
            self._events.append(Started(request_id=sequence.request.request_id))

    def _release(self, sequence: Sequence) -> None:
        """The one way out, for finish, cancel and failure alike."""
        if sequence.in_vocoder:
            sequence.phase = Phase.DRAINING
            sequence.unread.clear()
            return
        if sequence.phase is not Phase.WAITING:
            self._lm_turn.reset(sequence.slot)
            self._blocks.release(sequence.slot)
            self._slots.release(sequence.slot)
        self._counters.guards.update(sequence.guards)
        del self._sequences[sequence.request.request_id]
        self._assign_slots()

    def _fail(self, sequence: Sequence, error: ParlandoError) -> None:
        self._refuse(sequence.request.request_id, error)
        self._release(sequence)

    # -- speech model ----------------------------------------------------------------------------------------------

    def _runnable(self, sequence: Sequence, now: float) -> bool:
        return self._lm_turn.may_decode(sequence) and sequence.above_cap_s(now) <= 0

    def _decode(self) -> bool:
        """One LM step for the most urgent rows. Returns whether there were any."""
        now = self._clock()
        runnable = {one.slot: one for one in self._sequences.values() if self._runnable(one, now)}
        if not runnable:
            return False
        for sequence, fault in self._lm_turn.run(runnable, now):
            self._fail(sequence, fault)
        return True

    # -- vocoder ---------------------------------------------------------------------------------------------------

    def _vocoder_rows(self, now: float) -> list[tuple[tuple[float, float], int, Sequence]]:
        """(urgency, codes, sequence) of all that could be vocoded now; asked several times a step, so it asks little of
        each."""
        due, only_urgent = [], not self._vocoding.room(urgent=False)
        running = sum(one.phase is Phase.RUNNING for one in self._sequences.values())
        for sequence in self._sequences.values():
            if sequence.in_vocoder or sequence.phase is not Phase.RUNNING or sequence.paused or sequence.flushed_tail:
                continue
            pending = len(sequence.codes) - sequence.vocoded
            if pending == 0 and not sequence.spoken_out:
                continue
            lead_s = sequence.spare_s(now, sequence.vocoded)
            if only_urgent and not is_urgent(lead_s):
                continue
            begins = sequence.begins(now)
            count = chunk_codes(pending, lead_s, begins=begins, running=running, no_more=False)
            if count == 0 and pending and not self._runnable(sequence, now) and sequence.words_expected_s(now) <= 0:
                count = chunk_codes(pending, lead_s, begins=begins, running=running, no_more=True)
            if count or pending == 0:
                due.append(((lead_s, sequence.submitted_s), count, sequence))
        return due

    def _next_job(self, now: float) -> tuple[list[Sequence], int, bool]:
        """Whose codes are vocoded next, how many of each, and whether it is urgent; nobody's without room for a job."""
        nobody: tuple[list[Sequence], int, bool] = [], 0, False
        if not self._vocoding.room(urgent=True):
            return nobody
        due = sorted(self._vocoder_rows(now), key=lambda item: item[0])
        if not due:
            return nobody
        urgent, count = is_urgent(due[0][0][0]), due[0][1]
        rows = max(1, self.config.vocoder_job_codes // max(1, count))
        return [one for _, codes, one in due if codes == count][:rows], count, urgent

    def _dispatch(self) -> None:
        chosen, count, urgent = self._next_job(self._clock())
        if chosen:
            self._vocoding.start([VocoderRow.take(one, count) for one in chosen], urgent=urgent)

    def _collect(self) -> None:
        while (done := self._vocoding.collect()) is not None:
            self._deliver(done)

    def _deliver(self, done: Vocoded) -> None:
        self._counters.vocoder_busy_s += done.busy_s
        self._counters.vocoder_step_s.observe(done.busy_s)
        self._counters.vocoder_rows += len(done.rows)
        if done.rows[0].codes and not any(isinstance(one, EngineFault) for one in done.pcm):
            self._vocoder_cost.observe(len(done.rows), len(done.rows[0].codes), done.busy_s)
        for row, pcm in zip(done.rows, done.pcm, strict=True):
            sequence = self._sequences[row.request_id]
            sequence.in_vocoder = False
            if sequence.phase is Phase.DRAINING:
                self._release(sequence)
            elif isinstance(pcm, EngineFault):
                self._fail(sequence, pcm)
            else:
                self._emit(sequence, row, pcm)

    def _emit(self, sequence: Sequence, row: VocoderRow, pcm: bytes) -> None:
        now = self._clock()
        if pcm:
            words = sequence.words_until(row.first_code + len(row.codes))
            first_sample = sequence.samples
            if sequence.late(now):
                self._counters.late_chunks += 1
                self._admission.saw_late(self._load())
            self._events.append(Chunk(request_id=row.request_id, pcm=pcm, first_sample=first_sample, words=words))
            sequence.play(len(pcm) // 2, now)
        if row.last:
            self._counters.finished += 1
            timings = sequence.timings(now)
            self._events.append(Finished(request_id=row.request_id, samples=sequence.samples, timings=timings))
            self._release(sequence)

    def _tell_starved(self) -> None:
        """Tells who has spoken all the text there is."""
        for name, sequence in self._sequences.items():
            running = sequence.phase is Phase.RUNNING and bool(sequence.codes)
            if running and not sequence.told_waiting and sequence.starved:
                sequence.told_waiting = sequence.had_to_wait = True
                self._events.append(WaitingForText(request_id=name, spoken_samples=sequence.samples))
