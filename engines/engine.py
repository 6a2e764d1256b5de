"""The engine: drain the inbox, read, plan, run, commit, emit.

It goes round once for each call of the speech model: `reading` reads what has come, `scheduling.policy` plans several
calls, `steps` makes one of them, `vocoding` gets a job when one is due.

One thread calls `step` and `wait`; only it changes sequences and slots. `submit` may be called from any thread. There
is one `_release`; when nothing is left to do the slots are counted, and a leak raises. What goes wrong with one
sequence ends that sequence.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from select import select
from types import MappingProxyType

from engines.bell import Bell, Readable
from engines.config import DraftMode, EngineConfig
from engines.counters import Counters
from engines.errors import BadParameter, ConfigError, EngineFault, IntegrityError, Overloaded, ParlandoError
from engines.families.base import Drafter, Family, ModelSpec, Talker, Vocoder
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
from engines.reading import Reading
from engines.scheduling.admission import Admission, Load
from engines.scheduling.device_profile import DeviceProfile
from engines.scheduling.policy import Marks, Prefill, Step, View, calls, vocode
from engines.sequence import Phase, Sequence, VocoderRow
from engines.slots import SlotPool
from engines.speculation import Speculation
from engines.steps import StepRunner
from engines.vocoding import Vocoded, Vocoding

__all__ = ["Engine", "EngineConfig", "Model"]

_RETRY_AFTER_S = 1.0  # no stream ends sooner than its audio; a second is the least worth telling


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A family and its parts on their devices, as `engines.assemble` puts them together."""

    family: Family
    spec: ModelSpec
    talker: Talker
    vocoder: Vocoder
    drafter: Drafter | None
    arithmetic: Callable[[str], str]  # kernels -> all that decides last bits besides the bundle


class Engine:
    def __init__(
        self,
        model: Model,
        config: EngineConfig,
        clock: Callable[[], float] = time.monotonic,
        profile: DeviceProfile | None = None,
    ) -> None:
        """`profile`: of this machine, from an earlier start; without it `measure` makes one."""
        self.model, self.spec, self.config = model, model.spec, config
        self._clock = clock
        self._inbox: deque[Command] = deque()
        self._news = Bell()
        self._sequences: dict[str, Sequence] = {}
        self._perhaps_starved: dict[str, Sequence] = {}  # by name: text was read or prefilled, or audio came back
        self._called = False  # the speech model, in the last round
        self._frames_before, self._predicted_before_s = 0, 0.0  # of this round
        self._slots = SlotPool(config.slots)
        self.counters = Counters()
        self._events: list[Event] = []
        self._reading = Reading(config.text_chars)
        self.profile = profile or DeviceProfile(frame_s=self.spec.frame_s, cores=cores(), overlaps=config.workers)
        self._marks = Marks.of(self.spec.frame_s)
        self._admission = Admission(config, self.profile, self.spec.first_frames)
        self._steps = StepRunner(model.talker, self._speculation(), self.counters, self.profile, clock)
        self._plan: deque[Prefill[Sequence] | Step[Sequence]] = deque()
        self._vocoding = Vocoding(model.vocoder, self._news.ring if config.workers else None, clock)
        self._vocoder_changed = False  # a stream may be due that was not
        self._look_again_s = math.inf  # when one will be, should nothing change
        self._cpu_clock = time.thread_time if clock is time.monotonic else clock
        self._round_cpu_s = 0.0  # when this round began
        self._measuring = Measuring(model, self._vocoding, self.profile, self.counters, self._cpu_clock, config)

    def _speculation(self) -> Speculation | None:
        model, config = self.model, self.config
        if model.drafter is None or config.drafts is DraftMode.OFF:
            return None
        most, found = model.talker.draft_frames, model.drafter.frames
        if found > most:
            raise ConfigError(f"the drafter guesses {found} steps, the bundle's graph checks {most}")
        return Speculation(
            model.talker, model.drafter, self.counters, self._clock, mode=config.drafts, rows=config.draft_rows
        )

    # -- the door --------------------------------------------------------------------------------------------------

    def submit(self, command: Command) -> None:
        """Any thread. Answers come out of `step`."""
        self._inbox.append(command)
        self._news.ring()

    def measure(self) -> None:
        """Makes the device profile, in at most 300 ms; the rest of it is measured while the engine idles."""
        self._measuring.before_ready(self)

    @property
    def sequences(self) -> Mapping[str, Sequence]:
        """By request id; to read only."""
        return MappingProxyType(self._sequences)

    @property
    def planned(self) -> Collection[Prefill[Sequence] | Step[Sequence]]:
        """What is left of the plan; to read only."""
        return tuple(self._plan)

    @property
    def empty(self) -> bool:
        return not self._sequences and not self._inbox

    def wait(self, timeout_s: float | None = None, *files: Readable) -> None:
        """Sleeps until there is a command, a finished vocoder job, a first frame that waits no longer for words, or
        something to read from `files`."""
        now = self._clock()
        due_s = self._look_again_s - now if self._vocoding.room(urgent=True) else math.inf
        limit_s = max(0.0, min(due_s, math.inf if timeout_s is None else timeout_s))
        self._news.wait(None if math.isinf(limit_s) else limit_s, *files)
        if self.empty and not self._news.rung and self._clock() - now >= limit_s:
            self._measuring.when_idle(self, lambda: bool(select(files, (), (), 0)[0]))

    def close(self) -> None:
        self._vocoding.close()
        self._news.close()

    @property
    def has_work(self) -> bool:
        """Whether a step would do something now; otherwise `wait`."""
        if self._called or self._inbox or self._news.rung or self._vocoding.has_finished or self._reading.has_text:
            return True
        now, view = self._clock(), self._view()
        return bool(calls(view, now)) or (self._vocoder_is_due(now) and vocode(view, now)[0] is not None)

    def step(self) -> list[Event]:
        """One round, both halves of it. Returns what happened, in order."""
        return self.attend() + self.advance()

    def attend(self) -> list[Event]:
        """The first half: commands, text, finished audio. What it returns need not wait for the speech model's call."""
        self._news.clear()
        self._frames_before = self.counters.frames
        self._predicted_before_s, self._round_cpu_s = self.counters.predicted_s, self._cpu_clock()
        self._admission.saw_time(self._clock())
        self._drain()
        self._read_text()
        self._collect()
        self._dispatch()
        self._collect()
        return self._take_events()

    def advance(self) -> list[Event]:
        """The second half: one call of the speech model, and what comes of it."""
        self._called = self._run_next()
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
        predicted_s = self.counters.predicted_s - self._predicted_before_s
        full = self.profile.efficient_rows(self.config.max_batch) / 2
        if self.counters.frames - self._frames_before >= full and predicted_s > 0:
            self.profile.saw_batch(predicted_s, self._cpu_clock() - self._round_cpu_s)

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stats(self) -> EngineStats:
        phases, load, model = [one.phase for one in self._sequences.values()], self.load(), self.model
        kernels = model.talker.kernels
        if kernels != model.vocoder.kernels:
            kernels = f"{kernels}; vocoder: {model.vocoder.kernels}"
        return EngineStats(
            running=phases.count(Phase.RUNNING),
            waiting=phases.count(Phase.WAITING),
            slots=self.config.slots,
            lm_steps=self.counters.lm_steps,
            lm_busy_s=self.counters.lm_busy_s,
            vocoder_busy_s=self.counters.vocoder_busy_s,
            capacity=self._admission.capacity,
            streams_left=self._admission.streams_left(load),
            predicted_ttfa_s=self._admission.predicted_ttfa_s(load),
            kernels=kernels,
            arithmetic=model.arithmetic(kernels),
            device=model.talker.device,
            vocoder_job_s=self._vocoding.job_s,
            counters=self.counters.named(),
            tallies=self.counters.tallies(),
        )

    def check_integrity(self) -> None:
        """free + leased == total, and as many leased slots as sequences that run; IntegrityError otherwise."""
        self._slots.check()
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
            sequence, now = self._sequences.get(command.request_id), self._clock()
            if sequence is None or sequence.phase is Phase.DRAINING:
                continue  # ended already; its last message is on the way
            match command:
                case Append(text=text):
                    sequence.append(text, now)
                    self._reading.changed([sequence])
                case Flush():
                    sequence.script.flush()
                    self._reading.changed([sequence])
                case EndText():
                    sequence.script.end()
                    self._reading.changed([sequence])
                case SetPaused(paused=paused):
                    sequence.pause(paused)
                    self._vocoder_changed = True
                    self._became_ready(sequence, now)
                case StandBack():
                    sequence.stand_back()
                case Cancel():
                    self.counters.cancelled += 1
                    self._events.append(Cancelled(request_id=sequence.request.request_id, samples=sequence.samples))
                    self._release(sequence)

    def _admit(self, submit: Submit) -> None:
        try:
            if submit.request_id in self._sequences:
                raise BadParameter(f"request id {submit.request_id!r} is in use")
            self.model.family.validate(submit)
            self._check_room()
        except ParlandoError as error:
            self._reject(submit.request_id, error)
            return
        script = self.model.family.open(submit)
        self._sequences[submit.request_id] = Sequence(submit, script, self.spec, self._clock())
        self._assign_slots()

    def _check_room(self) -> None:
        """Raises Overloaded."""
        phases = [one.phase for one in self._sequences.values()]
        # A cancelled row that the vocoder still holds comes back within the step: its successor may wait for it.
        if not self._slots.free and phases.count(Phase.WAITING) >= phases.count(Phase.DRAINING):
            raise Overloaded(f"all {self.config.slots} streams are in use", _RETRY_AFTER_S)
        guarded = self.config.sheds and not self._measuring.rehearses
        if guarded and (reason := self._admission.refusal(self.load())) is not None:
            raise Overloaded(reason, _RETRY_AFTER_S)

    def load(self) -> Load:
        now = self._clock()
        speaking = [one for one in self._sequences.values() if one.phase is not Phase.DRAINING and one.speaks(now)]
        return Load(
            running=len(speaking),
            busy=sum(one.wants_frames(now) for one in speaking),
            first_pending=sum(one.awaits_first_audio for one in speaking),
        )

    def _reject(self, request_id: str, error: ParlandoError) -> None:
        self.counters.failed += 1
        later_s = error.retry_after_s if isinstance(error, Overloaded) else None
        failed = Failed(request_id=request_id, code=error.code, message=str(error), retry_after_s=later_s)
        self._events.append(failed)

    def _read_text(self) -> None:
        now = self._clock()
        read = self._reading.run(now)
        for sequence in read.sequences:
            self._perhaps_starved[sequence.request.request_id] = sequence
            self._vocoder_changed = True
        for sequence, error in read.failed:
            self._fail(sequence, error)
        for sequence in read.made_ready:
            self._became_ready(sequence, now)

    # -- ownership -------------------------------------------------------------------------------------------------

    def _assign_slots(self) -> None:
        for sequence in self._sequences.values():
            if sequence.phase is not Phase.WAITING:
                continue
            slot = self._slots.allocate()
            if slot is None:
                return
            sequence.start(slot, self._clock())
            self._became_ready(sequence, self._clock())  # it may have waited with its text read
            self._events.append(Started(request_id=sequence.request.request_id))

    def _release(self, sequence: Sequence) -> None:
        """The one way out, for finish, cancel and failure alike."""
        self._reading.forget(sequence)
        self._vocoder_changed = True  # with fewer streams a first chunk may be smaller
        if not sequence.leave():
            return
        if sequence.slot is not None:
            self.model.talker.release(sequence.slot)
            self._slots.release(sequence.slot)
        self.counters.guards.update(sequence.script.guards)
        del self._sequences[sequence.request.request_id]
        self._assign_slots()

    def _fail(self, sequence: Sequence, error: ParlandoError) -> None:
        if sequence.phase in (Phase.WAITING, Phase.RUNNING):
            self._reject(sequence.request.request_id, error)
            self._release(sequence)

    # -- plan and run ----------------------------------------------------------------------------------------------

    def _view(self) -> View[Sequence]:
        running = sum(one.phase is Phase.RUNNING for one in self._sequences.values())
        return View(
            streams=self._sequences.values(),
            profile=self.profile,
            marks=self._marks,
            chunk_frames=self.spec.chunk_frames,
            first_chunk=self.spec.first_frames[self.profile.is_crowded(running)],
            max_batch=self.config.max_batch,
            job_frames=self.config.job_frames,
            groups=self.model.talker.groups,
            drafts=self._steps.drafts,
            has_room=self._vocoding.room(urgent=False),
            has_urgent_room=self._vocoding.room(urgent=True),
        )

    def _became_ready(self, sequence: Sequence, now: float) -> None:
        """A sequence can run that could not. If it is urgent, drops the rest of the plan so that it goes next."""
        can_run = self._plan and (sequence.can_step or sequence.can_prefill)
        if can_run and self._marks.is_urgent(sequence.spare_s(now, sequence.made)):
            self._plan.clear()

    def _run_next(self) -> bool:
        """The plan's next item, or a new plan's first. Returns whether there was one with something left to do."""
        fresh = not self._plan
        if fresh:
            self._plan.extend(calls(self._view(), self._clock()))
        while self._plan:
            if made := self._steps.run(self._plan.popleft()):
                self._vocoder_changed = True
                self._reading.changed(made.stepped)
                self._perhaps_starved.update((one.request.request_id, one) for one in made.prefilled)
                for sequence, fault in made.failed:
                    self._fail(sequence, fault)
                return True
        return False if fresh else self._run_next()

    # -- vocoder ---------------------------------------------------------------------------------------------------

    def _vocoder_is_due(self, now: float) -> bool:
        return self._vocoding.room(urgent=True) and (self._vocoder_changed or now >= self._look_again_s)

    def _dispatch(self) -> None:
        """Gives the vocoder its next job, if there is one."""
        now = self._clock()
        if not self._vocoder_is_due(now):
            return
        job, self._look_again_s = vocode(self._view(), now)
        self._vocoder_changed = False  # with nothing due, nothing will be until something changes
        if job is not None:
            self._vocoding.start([one.take(job.frames) for one in job.streams], urgent=job.urgent)
            lead_s = job.next_lead_s
            self._vocoder_changed = lead_s is not None and self._vocoding.room(urgent=self._marks.is_urgent(lead_s))

    def _collect(self) -> None:
        while (done := self._vocoding.collect()) is not None:
            self._deliver(done)

    def _deliver(self, done: Vocoded) -> None:
        self._vocoder_changed = True
        self.counters.vocoder_busy_s += done.busy_s
        self.counters.vocoder_step_s.observe(done.busy_s)
        self.counters.vocoder_rows += len(done.rows)
        if not self.config.workers:
            self.counters.predicted_s += self.profile.job_s(len(done.rows) * len(done.rows[0].frames))
        for row, pcm in zip(done.rows, done.pcm, strict=True):
            sequence = self._sequences[row.request_id]
            sequence.came_back()
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
            words, first_sample = sequence.words_until(row.end_frame), sequence.samples
            if sequence.is_late(now):
                self.counters.late_chunks += 1
                if not self._measuring.rehearses:
                    self._admission.saw_late(now)
            self._events.append(Chunk(request_id=row.request_id, pcm=pcm, first_sample=first_sample, words=words))
            sequence.play(len(pcm) // 2, now)
        if row.last:
            self.counters.finished += 1
            self._events.append(
                Finished(
                    request_id=row.request_id,
                    samples=sequence.samples,
                    timings=sequence.timings(now),
                    warnings=sequence.script.warnings,
                )
            )
            self._release(sequence)

    def _tell_starved(self) -> None:
        """Tells which streams have spoken all the text there is."""
        for name, sequence in self._perhaps_starved.items():
            running = sequence.phase is Phase.RUNNING and sequence.made > 0
            if running and not sequence.told_waiting and sequence.starved:
                sequence.wait_for_text()
                self._events.append(WaitingForText(request_id=name, spoken_samples=sequence.samples))
        self._perhaps_starved.clear()
