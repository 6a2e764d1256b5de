"""The engine loop: drain the inbox, plan, run, commit, emit.

One thread calls `step`; only it changes sequences, blocks and slots. `submit` may be called from any thread. There is
one `_release`; when nothing is left to do the pools are counted, and a leak raises.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.adapter_pointer import write_row
from engines.bundle import Bundle
from engines.errors import BadParameter, ConfigError, EngineFault, ParlandoError, TextError, UnspeakableText
from engines.kv_blocks import BLOCK_TOKENS, BlockPool
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
    Started,
    Submit,
    Timings,
    WaitingForText,
)
from engines.overlap_add import RATES_HZ
from engines.randomness import gumbel
from engines.runtime.base import LmRuntime, VocoderRuntime
from engines.runtime.onnx import OnnxLm, OnnxVocoder
from engines.scheduler import Row, batch_range, chunk_codes
from engines.sequence import Counters, Phase, Sequence
from engines.slots import SlotPool
from engines.text import FrontEnd
from engines.vocoding import VocoderRow, Vocoding

MIN_SPEED, MAX_SPEED = 0.75, 1.33  # what the shipped LM has heard
MAX_TEMPERATURE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    slots: int = 128
    max_batch: int = 32
    max_waiting: int = 0  # requests that may wait for a slot; more are refused at once
    lm_threads: int = 1
    vocoder_threads: int = 1
    vocoder_batch: int = 16
    workers: bool = True  # vocode on a thread of its own

    def __post_init__(self) -> None:
        for name in ("slots", "max_batch", "lm_threads", "vocoder_threads", "vocoder_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")


class Engine:
    def __init__(
        self,
        bundle: Bundle,
        config: EngineConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        front_end: FrontEnd | None = None,
        lm: LmRuntime | None = None,
        vocoder: VocoderRuntime | None = None,
    ) -> None:
        self.bundle = bundle
        self.config = config or EngineConfig()
        self._clock = clock
        self._front_end = front_end or FrontEnd.load()
        self._lm = lm or OnnxLm(bundle, self.config.slots, self.config.lm_threads)
        self._inbox: deque[Command] = deque()
        self._news = threading.Event()
        self._sequences: dict[str, Sequence] = {}
        self._slots = SlotPool(self.config.slots)
        blocks = -(-bundle.adapter.max_steps // BLOCK_TOKENS)
        self._blocks = BlockPool(self.config.slots * blocks)
        self._counters = Counters()
        self._events: list[Event] = []
        self._vocoding = Vocoding(
            bundle,
            vocoder or OnnxVocoder(bundle, self.config.vocoder_threads),
            self.config.slots,
            self._news.set if self.config.workers else None,
        )

    # -- the door --------------------------------------------------------------------------------------------------

    def submit(self, command: Command) -> None:
        """Any thread. Answers come out of `step`."""
        self._inbox.append(command)
        self._news.set()

    def wake(self) -> None:
        """Any thread. Ends a `wait`."""
        self._news.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Sleeps until there is a command or a finished vocoder job."""
        self._news.wait(timeout_s)

    def close(self) -> None:
        self._vocoding.close()

    @property
    def has_work(self) -> bool:
        """Whether a step would do something now; otherwise `wait`."""
        if self._inbox or self._news.is_set() or self._vocoding.has_finished:
            return True
        return any(self._runnable(one) for one in self._sequences.values()) or (
            not self._vocoding.busy and bool(self._vocoder_rows(self._clock()))
        )

    def step(self) -> list[Event]:
        """One turn. Returns what happened, in order."""
        self._news.clear()
        self._drain()
        self._collect()
        self._dispatch()
        if self._decode():
            self._collect()
            self._dispatch()
        if not self._vocoding.busy:
            self._collect()
        self._settle()
        if not self._sequences:
            self.check_integrity()
        events, self._events = self._events, []
        return events

    def stats(self) -> EngineStats:
        phases = [one.phase for one in self._sequences.values()]
        counters = self._counters
        return EngineStats(
            running=phases.count(Phase.RUNNING),
            waiting=phases.count(Phase.WAITING),
            slots=self.config.slots,
            kv_blocks_used=self._blocks.total - self._blocks.free,
            kv_blocks_total=self._blocks.total,
            lm_steps=counters.lm_steps,
            lm_busy_s=counters.lm_busy_s,
            vocoder_busy_s=counters.vocoder_busy_s,
            counters={
                "lm_rows": counters.lm_rows,
                "vocoder_rows": counters.vocoder_rows,
                "finished": counters.finished,
                "cancelled": counters.cancelled,
                "failed": counters.failed,
            }
            | {f"guard_{name}": count for name, count in counters.guards.items()},
        )

    def check_integrity(self) -> None:
        """free + leased == total, for slots and blocks; IntegrityError otherwise."""
        self._slots.check()
        self._blocks.check()
        leased = sum(one.phase is not Phase.WAITING for one in self._sequences.values())
        if self._slots.count - self._slots.free != leased:
            raise EngineFault(f"{leased} sequences hold {self._slots.count - self._slots.free} slots")

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
            try:
                self._apply(sequence, command)
            except TextError as error:
                self._fail(sequence, error)

    def _admit(self, submit: Submit) -> None:
        now = self._clock()
        try:
            if submit.request_id in self._sequences:
                raise BadParameter(f"request id {submit.request_id!r} is in use")
            if submit.sample_rate_hz not in RATES_HZ:
                raise BadParameter(f"sample rate {submit.sample_rate_hz} Hz is not offered; valid: {RATES_HZ}")
            if not MIN_SPEED <= submit.speed <= MAX_SPEED:
                raise BadParameter(f"speed {submit.speed} is out of range {MIN_SPEED} to {MAX_SPEED}")
            if submit.temperature is not None and not 0 <= submit.temperature <= MAX_TEMPERATURE:
                raise BadParameter(f"temperature {submit.temperature} is out of range 0 to {MAX_TEMPERATURE}")
            voice = self.bundle.voice(submit.voice)
        except ParlandoError as error:
            self._refuse(submit.request_id, error.code, str(error))
            return
        phases = [one.phase for one in self._sequences.values()]
        # A cancelled row that the vocoder still holds comes back within the step: its successor may wait for it.
        places = self.config.max_waiting + phases.count(Phase.DRAINING)
        if not self._slots.free and phases.count(Phase.WAITING) >= places:
            message = f"all {self.config.slots} streams are in use"
            self._refuse(submit.request_id, "overloaded", message, retry_after_s=self._retry_after_s())
            return
        self._sequences[submit.request_id] = Sequence(submit, voice, self.bundle, self._front_end, now)
        self._assign_slots()

    def _retry_after_s(self) -> float:
        """No stream ends sooner than its audio; a second is the least worth telling."""
        return 1.0

    def _refuse(self, request_id: str, code: str, message: str, retry_after_s: float | None = None) -> None:
        self._counters.failed += 1
        self._events.append(Failed(request_id=request_id, code=code, message=message, retry_after_s=retry_after_s))

    def _apply(self, sequence: Sequence, command: Command) -> None:
        match command:
            case Append(text=text):
                sequence.append(text, self._clock())
            case Flush():
                sequence.flush()
            case EndText():
                sequence.end_text()
                if not sequence.text.spoken_any:
                    raise UnspeakableText("nothing in the text can be spoken: it needs at least one letter or digit")
            case SetPaused(paused=paused):
                sequence.paused = paused
            case Cancel():
                self._counters.cancelled += 1
                self._events.append(Cancelled(request_id=sequence.request.request_id, samples=sequence.samples))
                self._release(sequence)

    # -- ownership -------------------------------------------------------------------------------------------------

    def _assign_slots(self) -> None:
        for sequence in self._sequences.values():
            if sequence.phase is not Phase.WAITING:
                continue
            slot = self._slots.allocate()
            if slot is None:
                return
            sequence.slot, sequence.phase, sequence.started_s = slot, Phase.RUNNING, self._clock()
            self._lm.inputs.past[slot] = 0
            self._events.append(Started(request_id=sequence.request.request_id))

    def _release(self, sequence: Sequence) -> None:
        """The one way out, for finish, cancel and failure alike."""
        if sequence.in_vocoder:
            sequence.phase = Phase.DRAINING
            return
        if sequence.phase is not Phase.WAITING:
            self._lm.inputs.past[sequence.slot] = 0
            self._blocks.release(sequence.slot)
            self._slots.release(sequence.slot)
        for guard in sequence.guards:
            self._counters.guards[guard] = self._counters.guards.get(guard, 0) + 1
        del self._sequences[sequence.request.request_id]
        self._assign_slots()

    def _fail(self, sequence: Sequence, error: ParlandoError) -> None:
        self._refuse(sequence.request.request_id, error.code, str(error))
        self._release(sequence)

    # -- speech model ----------------------------------------------------------------------------------------------

    def _runnable(self, sequence: Sequence) -> bool:
        if sequence.phase is not Phase.RUNNING or sequence.paused or not sequence.ready:
            return False
        cap = sequence.request.max_lead_s
        if cap is not None and sequence.lead_s(self._clock(), len(sequence.codes) * self.bundle.code_s) > cap:
            return False
        return self._blocks.can_grow(sequence.slot, sequence.past + 1)

    def _decode(self) -> bool:
        """One LM step for the most urgent range of slots. Returns whether there was any."""
        now = self._clock()
        runnable = {one.slot: one for one in self._sequences.values() if self._runnable(one)}
        rows = [
            Row(
                slot=slot,
                lead_s=one.lead_s(now, len(one.codes) * self.bundle.code_s),
                arrived_s=one.submitted_s,
            )
            for slot, one in runnable.items()
        ]
        chosen = batch_range(rows, self.config.max_batch)
        if chosen is None:
            return False
        first, last = chosen
        batch = [runnable[slot] for slot in range(first, last) if slot in runnable]
        for sequence in batch:
            self._blocks.grow(sequence.slot, sequence.past + 1)
            write_row(self.bundle.adapter, self._lm.inputs, sequence)
        started = time.perf_counter()
        code_logits, advance_logits = self._lm.step(first, last)
        self._counters.lm_busy_s += time.perf_counter() - started
        self._counters.lm_steps += 1
        self._counters.lm_rows += len(batch)
        advances = advance_logits.argmax(axis=1)
        for sequence in batch:
            self._commit(sequence, code_logits[sequence.slot - first], int(advances[sequence.slot - first]))
        return True

    def _commit(self, sequence: Sequence, logits: np.ndarray[tuple[int], np.dtype[np.float32]], advance: int) -> None:
        if sequence.temperature > 0:
            noise = gumbel(sequence.request.seed, len(sequence.codes), len(logits))
            logits = logits / np.float32(sequence.temperature) + noise
        code = int(logits.argmax())
        if not np.isfinite(logits[code]):
            self._fail(sequence, EngineFault("the speech model returned values that are not finite"))
            return
        segments_before = sequence.segments_done
        sequence.take_code(code, advance)
        self._lm.inputs.past[sequence.slot] = sequence.past
        if sequence.segments_done != segments_before:
            self._blocks.release(sequence.slot)

    # -- vocoder ---------------------------------------------------------------------------------------------------

    def _vocoder_rows(self, now: float) -> list[tuple[tuple[float, float], int, Sequence]]:
        """(urgency, codes, sequence) of all that could be vocoded now."""
        due = []
        running = sum(one.phase is Phase.RUNNING for one in self._sequences.values())
        for sequence in self._sequences.values():
            if sequence.phase is not Phase.RUNNING or sequence.in_vocoder or sequence.flushed_tail:
                continue
            lead_s = sequence.lead_s(now, sequence.vocoded * self.bundle.code_s)
            pending = len(sequence.codes) - sequence.vocoded
            no_more = not self._runnable(sequence)
            count = chunk_codes(pending, sequence.vocoded, lead_s, running=running, no_more=no_more)
            if count or (sequence.spoken_out and pending == 0):
                due.append(((lead_s, sequence.submitted_s), count, sequence))
        return due

    def _dispatch(self) -> None:
        if self._vocoding.busy:
            return
        due = self._vocoder_rows(self._clock())
        if not due:
            return
        due.sort(key=lambda item: item[0])
        count = due[0][1]
        chosen = [sequence for _, codes, sequence in due if codes == count][: self.config.vocoder_batch]
        rows = []
        for sequence in chosen:
            first, end = sequence.vocoded, sequence.vocoded + count
            last = sequence.spoken_out and end == len(sequence.codes)
            rows.append(
                VocoderRow(
                    slot=sequence.slot,
                    request_id=sequence.request.request_id,
                    codes=tuple(sequence.codes[first:end]),
                    first_code=first,
                    voice=sequence.voice.index,
                    seed=sequence.request.seed,
                    rate_hz=sequence.request.sample_rate_hz,
                    last=last,
                )
            )
            sequence.vocoded, sequence.in_vocoder, sequence.flushed_tail = end, True, last
        self._vocoding.start(rows)

    def _collect(self) -> None:
        done = self._vocoding.collect()
        if done is None:
            return
        self._counters.vocoder_busy_s += done.busy_s
        self._counters.vocoder_rows += len(done.rows)
        for row, pcm in zip(done.rows, done.pcm, strict=True):
            sequence = self._sequences[row.request_id]
            sequence.in_vocoder = False
            if sequence.phase is Phase.DRAINING:
                self._release(sequence)
            elif done.error is not None:
                self._fail(sequence, EngineFault(f"the vocoder failed: {done.error}"))
            else:
                self._emit(sequence, row, pcm)

    def _emit(self, sequence: Sequence, row: VocoderRow, pcm: bytes) -> None:
        now = self._clock()
        if sequence.first_chunk_s is None:
            sequence.first_chunk_s = now
        words = sequence.words_until(row.first_code + len(row.codes))
        if pcm:
            chunk = Chunk(request_id=row.request_id, pcm=pcm, first_sample=sequence.samples, words=words)
            self._events.append(chunk)
            sequence.samples += len(pcm) // 2
        if row.last:
            self._counters.finished += 1
            timings = _timings(sequence, now)
            self._events.append(Finished(request_id=row.request_id, samples=sequence.samples, timings=timings))
            self._release(sequence)

    def _settle(self) -> None:
        """Tells who has spoken all the text there is."""
        for sequence in self._sequences.values():
            idle = not sequence.in_vocoder and sequence.vocoded == len(sequence.codes)
            starved = sequence.phase is Phase.RUNNING and not sequence.text_ended and not sequence.ready
            if idle and starved and sequence.codes and not sequence.told_waiting:
                sequence.told_waiting = True
                self._events.append(
                    WaitingForText(request_id=sequence.request.request_id, spoken_samples=sequence.samples)
                )


def _timings(sequence: Sequence, now: float) -> Timings:
    origin = sequence.submitted_s
    return Timings(
        first_text_s=(sequence.first_text_s or origin) - origin,
        started_s=sequence.started_s - origin,
        first_chunk_s=(sequence.first_chunk_s or now) - origin,
        finished_s=now - origin,
        audio_s=sequence.samples / sequence.request.sample_rate_hz,
        lm_steps=sequence.lm_steps,
        segments=sequence.segments_done,
        forced_advances=sequence.forced_advances,
        guards=tuple(sorted(sequence.guards)),
    )
