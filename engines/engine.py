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

from engines.config import DraftMode, EngineConfig
from engines.counters import Counters
from engines.emission import Emission
from engines.engine_model import Model
from engines.errors import BadParameter, EngineFault, Overloaded, ParlandoError
from engines.families.capabilities import AddsVoices
from engines.measuring import Measuring, cores
from engines.messages import (
    Append,
    Cancel,
    Command,
    EndText,
    EngineStats,
    Event,
    Flush,
    SetPaused,
    SetVoice,
    StandBack,
    Submit,
)
from engines.planning import Call, Planning
from engines.reading import Reading
from engines.runtime.wake_up import Readable, WakeUp, polling
from engines.scheduling.admission import Admission, Load
from engines.scheduling.device_profile import DeviceProfile
from engines.sequence import Phase, Sequence
from engines.slot_use import SlotUse
from engines.speculation import Speculation
from engines.steps import Made, StepRunner
from engines.vocoding import Vocoded, Vocoding


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
        self._wake_up = WakeUp()
        self._sequences: dict[str, Sequence] = {}
        self._called = False  # the speech model, in the last round
        self._frames_before, self._predicted_before_s, self._round_began_s = 0, 0.0, 0.0  # when this round began
        self.counters = Counters()
        self._slots = SlotUse(model, config.slots, self._sequences, self.counters)
        self._emission = Emission(self.counters)
        self._reading = Reading(config.text_chars, self._sequences.values())
        self.profile = profile or DeviceProfile(
            frame_s=self.spec.frame_s, cores=cores(), overlaps=config.workers, max_batch=config.max_batch
        )
        self._admission = Admission(config, self.profile, self.spec.first_frames, self.spec.opening_frames)
        speculation = None
        if model.drafter is not None and config.drafts is not DraftMode.OFF:
            speculation = Speculation(model.talker, model.drafter, config, self.counters, clock)
        self._steps = StepRunner(model.talker, speculation, config, self.counters, self.profile, clock)
        self._vocoding = Vocoding(model.vocoder, self._wake_up.notify if config.workers else None, clock)
        self._planning = Planning(
            model, config, self.profile, self._sequences.values(), self._slots, self._steps, self._vocoding
        )
        self._work_clock = time.thread_time if clock is time.monotonic and not model.awaits else clock
        self._measuring = Measuring(self, self._work_clock)

    # -- the door --------------------------------------------------------------------------------------------------

    def submit(self, command: Command) -> None:
        """Any thread. Answers come out of `step`."""
        self._inbox.append(command)
        self._wake_up.notify()

    def measure(self) -> None:
        """Makes the device profile, in at most 300 ms; the rest of it is measured while the engine idles."""
        self._measuring.before_ready()

    @property
    def sequences(self) -> Mapping[str, Sequence]:
        """By request id; to read only."""
        return self._sequences

    @property
    def planned(self) -> Collection[Call]:
        """What is left of the plan; to read only."""
        return self._planning.plan

    @property
    def empty(self) -> bool:
        return not self._sequences and not self._inbox

    def wait(self, timeout_s: float | None = None, *files: Readable) -> None:
        """Sleeps until there is a command, a finished vocoder job, a first frame that waits no longer for words, or
        something to read from `files`."""
        now = self._clock()
        limit_s = max(0.0, min(self._planning.wait_s(now), math.inf if timeout_s is None else timeout_s))
        self._wake_up.wait(None if math.isinf(limit_s) else limit_s, *files)
        if self.empty and not self._wake_up.is_set and self._clock() - now >= limit_s:
            self._measuring.when_idle(lambda: bool(files) and bool(polling(*files).poll(0)))

    def close(self) -> None:
        self._steps.run(None)  # a device's memory is not given back under a call
        self._vocoding.close()
        self._wake_up.close()

    @property
    def has_work(self) -> bool:
        """Whether a step would do something now; otherwise `wait`."""
        if self._called or self._inbox or self._wake_up.is_set or self._vocoding.has_finished or self._reading.readable:
            return True
        return self._planning.has_work(self._clock())

    def step(self) -> list[Event]:
        """One round, both halves of it. Returns what happened, in order."""
        return self.attend() + self.advance()

    def attend(self) -> list[Event]:
        """The first half: commands, text, finished audio. What it returns need not wait for the speech model's call."""
        self._wake_up.clear()
        self._frames_before = self.counters.frames
        self._predicted_before_s, self._round_began_s = self.counters.predicted_s, self._work_clock()
        self._admission.saw_time(self._clock())
        self._drain()
        self._take(self._reading.run(self._clock()))
        self._assign_slots()
        self._collect()
        self._planning.dispatch(self._clock())
        self._collect()
        return self._emission.take()

    def advance(self) -> list[Event]:
        """The second half: one call of the speech model, and what comes of it."""
        made = self._planning.run_next(self._clock())
        self._called = bool(made)
        self._take(made)
        if self._called:
            self._collect()
            self._planning.dispatch(self._clock())
        self._collect()
        self._assign_slots()  # a stream may be idle now
        self._emission.tell_starved()
        if not self._sequences:
            self.check_integrity()
        self._learn()
        return self._emission.take()

    def _learn(self) -> None:
        """Only from rounds over a full batch, since the profile predicts these; a core that other processes take is for
        the guard."""
        if self._measuring.rehearses:
            return
        predicted_s = self.counters.predicted_s - self._predicted_before_s
        if self.counters.frames - self._frames_before >= self.profile.efficient_rows / 2 and predicted_s > 0:
            self.profile.saw_batch(predicted_s, self._work_clock() - self._round_began_s)

    def stats(self) -> EngineStats:
        phases, load, model = [one.phase for one in self._sequences.values()], self.load(), self.model
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
            kernels=model.kernels,
            arithmetic=model.arithmetic(model.kernels),
            device=model.device,
            lone_rtf=self.profile.lone_rtf,
            vocoder_job_s=self._vocoding.job_s,
            counters=self.counters.named(),
            tallies=self.counters.tallies(),
        )

    def check_integrity(self) -> None:
        """Every slot is free or one sequence's; IntegrityError otherwise."""
        self._slots.check()

    # -- inbox -----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._inbox:
            command = self._inbox.popleft()
            if isinstance(command, Submit):
                self._admit(command)
                continue
            if isinstance(command, SetVoice):
                if isinstance(self.model.family, AddsVoices):
                    self.model.family.set_voice(command.voice, command.content)
                continue
            sequence, now = self._sequences.get(command.request_id), self._clock()
            if sequence is None or sequence.phase is Phase.DRAINING:
                continue  # ended already; its last message is on the way
            match command:
                case Append() | Flush() | EndText():
                    sequence.hear(command, now)
                case SetPaused(paused=paused):
                    sequence.pause(paused)
                    self._planning.changed()
                    self._planning.became_ready(sequence, now)
                case StandBack():
                    sequence.stand_back()
                case Cancel():
                    self._emission.cancelled(sequence)
                    self._release(sequence)

    def _admit(self, submit: Submit) -> None:
        try:
            if submit.request_id in self._sequences:
                raise BadParameter(f"request id {submit.request_id!r} is in use")
            self.model.family.validate(submit)
            self._check_room(submit)
            script = self.model.family.open(submit)
        except Exception as error:  # no request may take the other streams with it
            fault = EngineFault(f"the utterance could not be opened: {error!r}")
            self._emission.failed(submit.request_id, error if isinstance(error, ParlandoError) else fault)
            return
        self._sequences[submit.request_id] = Sequence(submit, script, self.spec, self._clock())
        self._assign_slots()

    def _check_room(self, submit: Submit) -> None:
        """Raises Overloaded."""
        if not self._slots.has_room():
            raise Overloaded(f"all {self.config.slots} streams are in use")
        guarded = self.config.sheds and not submit.is_admitted and not self._measuring.rehearses
        if guarded and (reason := self._admission.refusal(self.load())) is not None:
            raise Overloaded(reason)

    def load(self) -> Load:
        now = self._clock()
        speaking = [one for one in self._sequences.values() if one.phase is not Phase.DRAINING and one.speaks(now)]
        return Load(
            running=len(speaking),
            busy=sum(one.wants_frames(now) for one in speaking),
            first_pending=sum(one.awaits_first_audio for one in speaking),
        )

    def _take(self, made: Made) -> None:
        """Of a round of reading, or of a call of the speech model."""
        if made:
            self._planning.changed()
        for sequence in made.read:
            self._emission.perhaps_starved(sequence)
        for sequence, error in made.failed:
            self._fail(sequence, error)
        for sequence in made.ready:
            self._planning.became_ready(sequence, self._clock())

    # -- ownership -------------------------------------------------------------------------------------------------

    def _assign_slots(self) -> None:
        now = self._clock()
        for sequence in self._slots.assign(now):
            self._planning.became_ready(sequence, now)  # it may have waited with its text read
            if not sequence.told_started:
                sequence.told_started = True
                self._emission.started(sequence)

    def _release(self, sequence: Sequence) -> None:
        """The one way out, for finish, cancel and failure alike."""
        self._planning.changed()  # with fewer streams a first chunk may be smaller
        if not sequence.leave():
            return
        self._slots.release(sequence)
        self.counters.guards.update(sequence.script.guards)
        del self._sequences[sequence.request.request_id]
        self._assign_slots()

    def _fail(self, sequence: Sequence, error: ParlandoError) -> None:
        if sequence.phase not in (Phase.DRAINING, Phase.ENDED):
            self._emission.failed(sequence.request.request_id, error)
            self._release(sequence)

    # -- finished audio ----------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        while (done := self._vocoding.collect()) is not None:
            self._deliver(done)

    def _deliver(self, done: Vocoded) -> None:
        self._planning.changed()
        self.counters.vocoder_busy_s += done.busy_s
        self.counters.vocoder_step_s.observe(done.busy_s)
        self.counters.vocoder_rows += len(done.rows)
        if not self.config.workers:
            self.counters.predicted_s += self.profile.job_s(len(done.rows) * len(done.rows[0].frames))
        for row, pcm in zip(done.rows, done.pcm, strict=True):
            sequence, now = self._sequences[row.request_id], self._clock()
            sequence.came_back()
            self._emission.perhaps_starved(sequence)
            if sequence.phase is Phase.DRAINING:
                self._release(sequence)
                continue
            if isinstance(pcm, EngineFault):
                self._fail(sequence, pcm)
                continue
            if self._emission.audio(sequence, row, pcm, now) and not self._measuring.rehearses:
                self._admission.saw_late(now)
            if row.last:
                self._emission.finished(sequence, now)
                self._release(sequence)
