"""A machine whose speed is known: the real engine on toy networks, under a clock that only their costs move."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import (
    Append,
    Chunk,
    EndText,
    EngineStats,
    Event,
    Failed,
    Finished,
    Started,
    Submit,
    WaitingForText,
)
from tests.engine.toys import FakeClock, ToyDurations, ToyTalker, ToyVocoder

SHORT = "Please hold the line while I look."
LONG = " ".join(["It was a long road and nobody knew where it went, but we followed it all the same."] * 40)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Seconds of a call without rows and for each row (of a step) or code (of a job), and of the loop around a row."""

    step_s: tuple[float, float] = (0.2e-3, 0.07e-3)
    job_s: tuple[float, float] = (0.3e-3, 0.05e-3)
    read_s: float = 20e-6  # each time the loop looks at the clock, some ten times a round

    def times(self, factor: float) -> Machine:
        return replace(
            self,
            step_s=(factor * self.step_s[0], factor * self.step_s[1]),
            job_s=(factor * self.job_s[0], factor * self.job_s[1]),
            read_s=factor * self.read_s,
        )

    def streams(self, frame_s: float) -> float:
        """At real time, in the largest batches, on one thread that does nothing else."""
        return frame_s / (self.step_s[1] + self.job_s[1])


PLAIN = Machine(step_s=(0.3e-3, 0.1e-3), job_s=(0.3e-3, 0.12e-3), read_s=0.0)  # every time can be predicted
FAST = Machine()
WITHOUT_OWN_KERNELS = Machine(step_s=(0.5e-3, 0.12e-3), job_s=(1.5e-3, 0.12e-3))
MACHINES = {
    "as measured": FAST,
    "three times slower": FAST.times(3),
    "three times faster": FAST.times(1 / 3),
    "without own kernels": WITHOUT_OWN_KERNELS,
}


class TickingClock(FakeClock):
    """Every look at it takes time, as the loop's own work does."""

    def __init__(self, read_s: float) -> None:
        super().__init__()
        self.read_s = read_s

    def __call__(self) -> float:
        self.now_s += self.read_s
        return self.now_s


@dataclass
class Listener:
    """Plays from the first chunk on, and knows when it ran dry."""

    asked_s: float
    first_s: float | None = None
    first_bytes: int = 0
    dry_s: float = 0.0
    underruns: int = 0
    dry_for_s: float = 0.0  # the longest silence
    waiting: bool = False
    resumed_bytes: list[int] = field(default_factory=list)  # of chunks after a wait for text
    end: Event | None = None

    @property
    def admitted(self) -> bool:
        return not isinstance(self.end, Failed)


class Simulator:
    """An engine, its clock and its listeners."""

    talker = ToyTalker

    def __init__(
        self,
        bundle: Bundle,
        machine: Machine = PLAIN,
        config: EngineConfig | None = None,
        *,
        phone_codes: int = 2,
        measured: bool = True,
    ) -> None:
        self.bundle, self.clock = bundle, TickingClock(machine.read_s)
        self.config = config or EngineConfig(slots=64, workers=False, drafts=DraftMode.OFF)
        self.lm = self.talker(bundle, self.clock, *machine.step_s)
        self.vocoder = ToyVocoder(bundle, self.clock, *machine.job_s)
        self.durations = ToyDurations(bundle, phone_codes)
        self.engine = load_engine(
            bundle, self.config, self.clock, talker=self.lm, vocoder=self.vocoder, durations=self.durations
        )
        if measured:
            self.engine.measure()
        self.listeners: dict[str, Listener] = {}
        self.started_s = self.clock.now_s

    def becomes(self, machine: Machine) -> None:
        self.clock.read_s = machine.read_s
        self.lm.base_s, self.lm.row_s = machine.step_s
        self.vocoder.base_s, self.vocoder.frame_s = machine.job_s

    @property
    def stats(self) -> EngineStats:
        return self.engine.stats()

    @property
    def capacity(self) -> int:
        return self.stats.capacity

    def ask(self, name: str, text: str, *, end: bool = True) -> None:
        self.listeners[name] = Listener(self.clock.now_s)
        self.engine.submit(Submit(request_id=name, voice=self.bundle.voices[0].id, seed=1))
        self.engine.submit(Append(request_id=name, text=text))
        if end:
            self.engine.submit(EndText(request_id=name))

    def step(self) -> None:
        for event in self.engine.step():
            listener = self.listeners[event.request_id]  # type: ignore[union-attr]
            match event:
                case Chunk(pcm=pcm):
                    self._play(listener, pcm)
                case WaitingForText():
                    listener.waiting = True
                case Started():
                    pass
                case Finished() | Failed():
                    listener.end = event
        if not self.engine.has_work:
            self.clock.now_s += 1e-3

    def _play(self, listener: Listener, pcm: bytes) -> None:
        now = self.clock.now_s
        if listener.first_s is None:
            listener.first_s = listener.dry_s = now
            listener.first_bytes = len(pcm)
        if listener.waiting and now > listener.dry_s:
            listener.resumed_bytes.append(len(pcm))
        if now > listener.dry_s:
            if not listener.waiting:
                listener.underruns += 1
                listener.dry_for_s = max(listener.dry_for_s, now - listener.dry_s)
            listener.dry_s = now
        listener.waiting = False
        listener.dry_s += len(pcm) / 2 / 24_000

    def run(self, seconds: float) -> None:
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.step()

    def arrivals(self, text: str, *, rate_hz: float, seconds: float, name: str = "a") -> None:
        """One after the other at equal distances. The engine sees a request when it next looks into its inbox."""
        due_s, until_s, number = self.clock.now_s, self.clock.now_s + seconds, 0
        while self.clock.now_s < until_s:
            while due_s <= self.clock.now_s:
                self.ask(f"{name}{number}", text)
                due_s, number = due_s + 1 / rate_hz, number + 1
            self.step()

    def finish(self) -> None:
        while any(one.end is None for one in self.listeners.values()):
            self.step()

    def rest(self, hours: float) -> None:
        """Nothing to do: the loop looks round once a second, as it does to tell its gauges."""
        self.run(1)
        for _ in range(round(3600 * hours)):
            self.step()
            self.clock.now_s += 1

    def ttfa_s(self, name: str) -> float:
        listener = self.listeners[name]
        assert listener.first_s is not None, f"{name} has not sounded: {listener.end}"
        return listener.first_s - listener.asked_s

    def admitted(self) -> list[str]:
        return [name for name, one in self.listeners.items() if one.admitted]

    def refused(self) -> int:
        return len(self.listeners) - len(self.admitted())

    def underruns(self, buffer_s: float = 0.0) -> int:
        """Of listeners that let so much audio gather before they play."""
        return sum(one.dry_for_s > buffer_s for one in self.listeners.values())
