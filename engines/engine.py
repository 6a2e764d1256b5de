"""The engine loop: drain the inbox, plan, run, commit, emit.

It goes round once for each call of the LM: `engines/text_turn.py` reads what has come, `engines/lm_turn.py` plans
several calls and makes one, `engines/vocoder_turn.py` gives the vocoder a job when one is due. A round looks at what
has changed, not at all sequences.

One thread calls `step` and `wait`; only it changes sequences, blocks and slots. `submit` may be called from any
thread. There is one `_release`; when nothing is left to do the pools are counted, and a leak raises. What goes wrong
with one sequence ends that sequence.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from select import select

from engines.bell import Bell, Readable
from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig, check_draft_tolerance, check_submit
from engines.counters import Counters
from engines.errors import (
    BadParameter,
    BundleError,
    ConfigError,
    EngineFault,
    IntegrityError,
    Overloaded,
    ParlandoError,
)
from engines.families.phone_pointer.durations import Planner
from engines.families.phone_pointer.forecast import Drafter, ForecastDrafter
from engines.kv_blocks import BLOCK_TOKENS, BlockPool
from engines.lm_turn import LmTurn
from engines.measuring import Measuring, cores
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
from engines.runtime.onnx_cpu import OnnxDrafts, OnnxDurations, OnnxLm, OnnxVocoder, arithmetic
from engines.scheduling.admission import Admission, Load, load_of
from engines.scheduling.device_profile import DeviceProfile
from engines.scheduling.policy import SATED_CODES
from engines.sequence import Phase, Sequence
from engines.slots import SlotPool
from engines.text import NUM_PHONE_IDS, FrontEnd
from engines.text_turn import TextTurn
from engines.vocoder_turn import VocoderTurn
from engines.vocoding import Vocoded, VocoderRow, Vocoding

__all__ = ["Engine", "EngineConfig"]

_RETRY_AFTER_S = 1.0  # no stream ends sooner than its audio; a second is the least worth telling


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
        profile: DeviceProfile | None = None,
    ) -> None:
        """`profile`: of this machine, from an earlier start; without it `measure` makes one."""
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
        self._perhaps_starved: dict[str, Sequence] = {}  # by name: text was read, or audio came back, in this round
        self._called = False  # the LM, in the last round
        self._tokens_before, self._predicted_before_s = 0, 0.0  # of this round
        self._slots = SlotPool(self.config.slots)
        blocks = -(-bundle.adapter.max_steps // BLOCK_TOKENS)
        self._blocks = BlockPool(self.config.slots * blocks)
        self._counters = Counters()
        self._events: list[Event] = []
        self._text_turn = TextTurn(self.config.text_chars)
        self._planner = Planner(bundle, durations or OnnxDurations(bundle, self.config.lm_threads))
        lm = lm or OnnxLm(bundle, self.config.slots, self.config.lm_threads, self.config.own_kernels)
        vocoder = vocoder or OnnxVocoder(bundle, self.config.vocoder_threads, self.config.own_kernels)
        self._device = lm.device
        self._kernels = lm.kernels if lm.kernels == vocoder.kernels else f"{lm.kernels}; vocoder: {vocoder.kernels}"
        self.profile = profile or DeviceProfile(frame_s=bundle.code_s, cores=cores(), overlaps=self.config.workers)
        self._admission = Admission(self.config, self.profile)
        if drafter is None and bundle.drafts is not None and self.config.drafts is not DraftMode.OFF:
            drafter = ForecastDrafter(bundle, OnnxDrafts(bundle, self.config.lm_threads, self.config.own_kernels))
        if drafter is not None and (bundle.drafts is None or drafter.length > bundle.drafts.length):
            most = bundle.drafts.length if bundle.drafts else 0
            raise ConfigError(f"the drafter guesses {drafter.length} steps, the bundle's graph checks {most}")
        self._lm_turn = LmTurn(bundle, self.config, lm, drafter, self._blocks, self._counters, self.profile, clock)
        self._vocoding = Vocoding(
            bundle,
            vocoder,
            self.config.slots,
            self._news.ring if self.config.workers else None,
            clock,
        )
        self._vocoder_turn = VocoderTurn(self.config, self.profile, self._vocoding, self._lm_turn.runnable)
        self._cpu_clock = cpu_clock = time.thread_time if clock is time.monotonic else clock
        self._round_cpu_s = 0.0  # when this round began
        self._measuring = Measuring(bundle, lm, self._vocoding, self.profile, self._counters, cpu_clock, self.config)

    # -- the door --------------------------------------------------------------------------------------------------

    def submit(self, command: Command) -> None:
        """Any thread. Answers come out of `step`."""
        self._inbox.append(command)
        self._news.ring()

    def measure(self) -> None:
        """Makes the device profile, in at most 300 ms; the rest of it is measured while the engine idles."""
        self._measuring.before_ready(self)

    @property
    def empty(self) -> bool:
        return not self._sequences and not self._inbox

    def wait(self, timeout_s: float | None = None, *files: Readable) -> None:
        """Sleeps until there is a command, a finished vocoder job, a lead that has come down to its cap, a first code
        that waits no longer for words, or something to read from `files`."""
        now = self._clock()
        due_s = [math.inf if timeout_s is None else timeout_s, self._vocoder_turn.wait_s(now)]
        for sequence in self._sequences.values():  # a sated one waits for the vocoder, whatever its lead
            if sequence.pending < SATED_CODES and self._lm_turn.may_decode(sequence):
                due_s.append(sequence.above_cap_s(now))
        limit_s = max(0.0, min(due_s))
        self._news.wait(None if math.isinf(limit_s) else limit_s, *files)
        if self.empty and not self._news.rung and self._clock() - now >= limit_s:
            self._measuring.when_idle(self, lambda: bool(select(files, (), (), 0)[0]))

    def close(self) -> None:
        self._vocoding.close()
        self._news.close()

    @property
    def has_work(self) -> bool:
        """Whether a step would do something now; otherwise `wait`."""
        if self._called or self._inbox or self._news.rung or self._vocoding.has_finished:
            return True
        now, sequences = self._clock(), self._sequences.values()
        return (
            self._text_turn.has_text
            or self._lm_turn.has_rows(sequences, now)
            or self._vocoder_turn.next_job(sequences, now) is not None
        )

    def step(self) -> list[Event]:
        """One round, both halves of it. Returns what happened, in order."""
        return self.attend() + self.advance()

    def attend(self) -> list[Event]:
        """The first half: commands, text, finished audio. What it returns need not wait for the LM's call."""
        self._news.clear()
        self._tokens_before = self._counters.tokens
        self._predicted_before_s, self._round_cpu_s = self._counters.predicted_s, self._cpu_clock()
        self._admission.saw_time(self._clock())
        self._drain()
        self._read_text()
        self._collect()
        self._dispatch()
        self._collect()
        return self._take_events()

    def advance(self) -> list[Event]:
        """The second half: one call of the LM, and what comes of it."""
        self._called = self._decode()
        if self._called:
            self._collect()
            self._dispatch()
        self._collect()
        self._tell_starved()
        if not self._sequences:
            self.check_integrity()
        self._learn()
        return self._take_events()

    def _learn(self) -> None:
        """Only from rounds over a full batch, since the profile predicts these; a core that other processes take is for
        the guard."""
        if self._measuring.rehearses:
            return
        predicted_s = self._counters.predicted_s - self._predicted_before_s
        full = self.profile.efficient_rows(self.config.max_batch) / 2
        if self._counters.tokens - self._tokens_before >= full and predicted_s > 0:
            self.profile.saw_batch(predicted_s, self._cpu_clock() - self._round_cpu_s)

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
            capacity=self._admission.capacity,
            streams_left=self._admission.streams_left(load),
            predicted_ttfa_s=self._admission.predicted_ttfa_s(load),
            kernels=self._kernels,
            arithmetic=arithmetic(self._kernels),
            device=self._device,
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
                    self._text_turn.add(sequence, text, self._clock())
                case Flush() | EndText():
                    self._text_turn.add(sequence, command, self._clock())
                case SetPaused(paused=paused):
                    sequence.paused = paused
                    sequence.had_to_wait = True
                    self._vocoder_turn.changed()
                    self._lm_turn.became_ready(sequence, self._clock())
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
        text = self._front_end.open(submit.pronunciations, self.config.max_expanded)
        self._sequences[submit.request_id] = Sequence(submit, voice, self.bundle, text, self._planner, self._clock())
        self._assign_slots()

    def _check_room(self) -> None:
        """Raises Overloaded."""
        phases = [one.phase for one in self._sequences.values()]
        # A cancelled row that the vocoder still holds comes back within the step: its successor may wait for it.
        places = phases.count(Phase.DRAINING)
        if not self._slots.free and phases.count(Phase.WAITING) >= places:
            raise Overloaded(f"all {self.config.slots} streams are in use", _RETRY_AFTER_S)
        if (
            self.config.sheds
            and not self._measuring.rehearses
            and (reason := self._admission.refusal(self._load())) is not None
        ):
            raise Overloaded(reason, _RETRY_AFTER_S)

    def _load(self) -> Load:
        return load_of(self._sequences.values(), self._clock())

    def _refuse(self, request_id: str, error: ParlandoError) -> None:
        self._counters.failed += 1
        later_s = error.retry_after_s if isinstance(error, Overloaded) else None
        failed = Failed(request_id=request_id, code=error.code, message=str(error), retry_after_s=later_s)
        self._events.append(failed)

    def _read_text(self) -> None:
        now = self._clock()
        read = self._text_turn.run(now)
        for sequence in read.sequences:
            self._perhaps_starved[sequence.request.request_id] = sequence
            self._vocoder_turn.changed()
        for sequence, error in read.failed:
            self._fail(sequence, error)
        for sequence in read.made_ready:
            self._lm_turn.became_ready(sequence, now)

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
            self._lm_turn.became_ready(sequence, self._clock())  # it may have waited with its text read
            self._events.append(Started(request_id=sequence.request.request_id))

    def _release(self, sequence: Sequence) -> None:
        """The one way out, for finish, cancel and failure alike."""
        sequence.unread.clear()
        self._vocoder_turn.changed()  # with fewer streams a first chunk may be smaller
        if sequence.in_vocoder:
            sequence.phase = Phase.DRAINING
            return
        if sequence.phase is not Phase.WAITING:
            self._lm_turn.reset(sequence.slot)
            self._blocks.release(sequence.slot)
            self._slots.release(sequence.slot)
        sequence.phase = Phase.ENDED
        self._counters.guards.update(sequence.guards)
        del self._sequences[sequence.request.request_id]
        self._assign_slots()

    def _fail(self, sequence: Sequence, error: ParlandoError) -> None:
        self._refuse(sequence.request.request_id, error)
        self._release(sequence)

    # -- speech model ----------------------------------------------------------------------------------------------

    def _decode(self) -> bool:
        """One call of the LM: the plan's next, or a new plan's first. Returns whether there was one."""
        called = self._lm_turn.call()
        if called is None:
            self._lm_turn.plan(self._sequences.values(), self._clock())
            called = self._lm_turn.call()
        if called is None:
            return False
        self._vocoder_turn.changed()
        self._text_turn.spoke(called.stepped)
        for sequence, fault in called.failed:
            self._fail(sequence, fault)
        return True

    # -- vocoder ---------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self._vocoder_turn.dispatch(self._sequences.values(), self._clock())

    def _collect(self) -> None:
        while (done := self._vocoding.collect()) is not None:
            self._deliver(done)

    def _deliver(self, done: Vocoded) -> None:
        self._vocoder_turn.changed()
        self._counters.vocoder_busy_s += done.busy_s
        self._counters.vocoder_step_s.observe(done.busy_s)
        self._counters.vocoder_rows += len(done.rows)
        if not self.config.workers:
            self._counters.predicted_s += self.profile.job_s(len(done.rows) * len(done.rows[0].codes))
        for row, pcm in zip(done.rows, done.pcm, strict=True):
            sequence = self._sequences[row.request_id]
            sequence.in_vocoder = False
            self._perhaps_starved[row.request_id] = sequence
            if sequence.phase is Phase.DRAINING:
                self._release(sequence)
            elif isinstance(pcm, EngineFault):
                self._fail(sequence, pcm)
            else:
                self._emit(sequence, row, pcm)

    def _emit(self, sequence: Sequence, row: VocoderRow, pcm: bytes) -> None:
        now = self._clock()
        pcm = sequence.audible(pcm, last=row.last)
        if pcm:
            words = sequence.words_until(row.first_code + len(row.codes))
            first_sample = sequence.samples
            if sequence.late(now):
                self._counters.late_chunks += 1
                if not self._measuring.rehearses:
                    self._admission.saw_late(now)
            self._events.append(Chunk(request_id=row.request_id, pcm=pcm, first_sample=first_sample, words=words))
            sequence.play(len(pcm) // 2, now)
        if row.last:
            self._counters.finished += 1
            timings = sequence.timings(now)
            warnings = sequence.text.warnings
            self._events.append(
                Finished(request_id=row.request_id, samples=sequence.samples, timings=timings, warnings=warnings)
            )
            self._release(sequence)

    def _tell_starved(self) -> None:
        """Tells who has spoken all the text there is."""
        for name, sequence in self._perhaps_starved.items():
            running = sequence.phase is Phase.RUNNING and bool(sequence.codes)
            if running and not sequence.told_waiting and sequence.starved:
                sequence.told_waiting = sequence.had_to_wait = True
                self._events.append(WaitingForText(request_id=name, spoken_samples=sequence.samples))
        self._perhaps_starved.clear()
