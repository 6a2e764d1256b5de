"""A toy device that computes in the order of launches and is busy for a known time, and an engine driven over it.

Each row goes on from its own last frame, so a step that is lost, made twice or given to another sequence changes all
frames behind it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.errors import EngineFault
from engines.families.base import (
    BoolArray,
    Controls,
    Frames,
    Pending,
    Prefix,
    Rows,
    Sampling,
    Sound,
    Steps,
)
from engines.families.common.device_calls import one_call
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Append, Chunk, EndText, Event, Failed, Finished, Submit
from engines.runtime.base import IntArray
from tests.engine.driving import OTHERS, TEXT
from tests.engine.simulator import TickingClock
from tests.engine.toys import FakeClock, NgramDrafter, ToyDurations, ToyTalker, ToyVocoder

SLOTS = 6
REPLAY_S = 0.4e-3
TEXTS = [*OTHERS, TEXT]


class _Replay:
    def __init__(self, device: Device, number: int, steps: Steps, ready_s: float) -> None:
        self._device, self._number, self._steps, self._ready_s = device, number, steps, ready_s

    def wait(self) -> Steps:
        device = self._device
        device.log.append(("wait", self._number))
        device.clock.now_s = max(device.clock.now_s, self._ready_s)
        device.unread.remove(self._number)
        if self._number in device.broken:
            raise EngineFault("the device is lost")
        return self._steps


class Device(ToyTalker):
    """Without `launches_ahead`."""

    def __init__(self, bundle: Bundle, clock: FakeClock, replay_s: float = REPLAY_S) -> None:
        super().__init__(bundle, clock, 0.0, 0.0)
        self.clock, self.replay_s, self._free_s = clock, replay_s, 0.0
        self._last = np.zeros(SLOTS, np.int64)
        self.log: list[tuple[str, int]] = []  # launch or wait, and of which step
        self.unread: list[int] = []
        self.slots_of: list[list[int]] = []  # by step
        self.seeds_of: list[list[int]] = []
        self.broken: set[int] = set()  # steps that fail while they run
        self.refused: set[int] = set()  # seeds that no step takes
        self.spoilt: set[tuple[int, int]] = set()  # (seed, frame) that is not finite

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        self._last[slot] = 0
        return 0

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return one_call([*slots], [*others])

    def step(
        self,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames | None,
    ) -> Pending[Steps]:
        if self.refused & {*keys[:, 0].tolist()}:
            raise EngineFault("no such row")
        assert drafted is None or not self.unread, "a verification goes alone"
        number, frames = len(self.slots_of), np.zeros((*rows.shape[:2], 1), np.int64)
        for at in range(rows.shape[1]):
            last = self._last[slots] if at == 0 or drafted is None else drafted[:, at - 1, 0]
            told = rows[:, at].sum(axis=1) + 5 * last + 7 * (lengths + at) + keys[:, 0] + 3 * (keys[:, 1] + at)
            frames[:, at, 0] = told % 11
        if drafted is None:
            self._last[slots] = frames[:, 0, 0]
        self.log.append(("launch", number))
        self.unread.append(number)
        self.slots_of.append(slots.tolist())
        self.seeds_of.append(keys[:, 0].tolist())
        self._free_s = max(self.clock.now_s, self._free_s) + self.replay_s
        finite = np.array([[tuple(key) not in self.spoilt] * rows.shape[1] for key in keys.tolist()])
        return _Replay(self, number, Steps(frames, np.zeros(finite.shape, np.float32), finite), self._free_s)

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        assert not self.unread, "the host writes last frames"
        self._last[slots] = frames[:, 0]

    @property
    def ahead(self) -> list[bool]:
        """Of each step but the last, whether the next was launched before it was waited for."""
        at = {event: place for place, event in enumerate(self.log)}
        steps, unread = range(len(self.slots_of)), len(self.log)
        return [at["launch", after] < at.get(("wait", step), unread) for step, after in pairwise(steps)]


class DeviceAhead(Device):
    launches_ahead = True


class Hearing(ToyVocoder):
    """Keeps the frames of each utterance, by its seed."""

    def __init__(self, bundle: Bundle, clock: FakeClock) -> None:
        super().__init__(bundle, clock, 0.0, 0.0)
        self.heard: dict[int, list[int]] = defaultdict(list)

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        for seed, first, made in zip(seeds.tolist(), first_frames.tolist(), frames, strict=True):
            assert len(self.heard[seed]) == first
            self.heard[seed] += made[:, 0].tolist()
        return super().run(slots, frames, first_frames, seeds, controls, is_last)


class Driven:
    """An engine over a toy device, stepped by hand."""

    def __init__(
        self,
        bundle: Bundle,
        kind: type[Device] = DeviceAhead,
        *,
        replay_s: float = REPLAY_S,
        host_s: float = 0.0,
        **settings: Any,
    ) -> None:
        self.bundle, self.clock = bundle, TickingClock(host_s)
        self.device, self.hearing = kind(bundle, self.clock, replay_s), Hearing(bundle, self.clock)
        defaults: dict[str, Any] = {"slots": SLOTS, "workers": False, "sheds": False, "drafts": DraftMode.OFF}
        config = EngineConfig(**(defaults | {"max_batch": SLOTS, "verify_rows": SLOTS} | settings))
        drafter = None if config.drafts is DraftMode.OFF else NgramDrafter()
        durations = ToyDurations(bundle)
        self.engine: Engine = load_engine(
            bundle,
            config,
            self.clock,
            talker=self.device,
            vocoder=self.hearing,
            durations=durations,
            drafter=drafter,
        )
        self.events: list[Event] = []

    def ask(self, seed: int, text: str, *, end: bool = True) -> None:
        self.engine.submit(Submit(request_id=str(seed), voice=self.bundle.voices[0].id, seed=seed))
        self.engine.submit(Append(request_id=str(seed), text=text))
        if end:
            self.engine.submit(EndText(request_id=str(seed)))

    def step(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.events += self.engine.step()

    def until(self, reached: Callable[[], bool], most: int = 5000) -> None:
        for _ in range(most):
            if reached():
                return
            self.step()
        raise AssertionError("it is not reached")

    def finish(self) -> dict[int, list[int]]:
        """Until there is nothing to do: no step is unread then, and no slot held."""
        self.until(lambda: not self.engine.has_work)
        assert self.device.unread == []
        assert self.engine.empty
        self.engine.check_integrity()
        return dict(self.hearing.heard)

    def ended(self, kind: type[Finished] | type[Failed]) -> set[int]:
        return {int(one.request_id) for one in self.events if isinstance(one, kind)}

    @property
    def sounding(self) -> set[int]:
        return {int(one.request_id) for one in self.events if isinstance(one, Chunk)}


def spoken(bundle: Bundle, kind: type[Device] = Device, **settings: Any) -> dict[int, list[int]]:
    """Frames of each text alone, by its seed."""
    found: dict[int, list[int]] = {}
    for seed, text in enumerate(TEXTS):
        one = Driven(bundle, kind, **settings)
        one.ask(seed, text)
        found |= one.finish()
    return found
