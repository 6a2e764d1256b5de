"""Which sequences have a slot: those that wait get a free one, else that of a stream that has nothing to do.

A stream has nothing to do while it is paused, or starved of text with all its frames vocoded. What its slot holds goes
to host memory, by length and not by capacity, and comes back into any slot when the stream has work and one is free.
Streams that were swapped go before new ones, and no new one is admitted for whose slot another would wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from engines.counters import Counters
from engines.engine_model import Model
from engines.errors import IntegrityError
from engines.families.capabilities import Swaps
from engines.sequence import Phase, Sequence


class SlotUse:
    def __init__(self, model: Model, slots: int, sequences: Mapping[str, Sequence], counters: Counters) -> None:
        """`sequences`: a live view of all. As many may be swapped as there are slots."""
        self._model, self._count, self._sequences = model, slots, sequences
        self._free = list(range(slots))  # a heap: low slots lie close together in a batch's range
        self._counters = counters
        self._swaps = isinstance(model.talker, Swaps) and isinstance(model.vocoder, Swaps)

    def has_room(self) -> bool:
        """For one more request. A cancelled row that the vocoder still holds comes back within the step."""
        every = self._sequences.values()
        swapped = sum(one.phase is Phase.SWAPPED for one in every)
        idle = min(sum(1 for _ in self._idle()), self._count - swapped)
        leaving = sum(one.phase is Phase.DRAINING for one in every)
        return sum(1 for _ in self._waiting()) < len(self._free) + idle + leaving

    def assign(self, now: float) -> list[Sequence]:
        """Gives slots to those that wait. -> those that have one now."""
        given = list[Sequence]()
        if len(self._sequences) == self.in_use:
            return given
        for sequence in [*self._waiting()]:
            if not self._free:
                idle = next(self._idle(), None)
                if idle is None:
                    break
                self._swap_out(idle)
            self._start(sequence, heapq.heappop(self._free), now)
            given.append(sequence)
        return given

    def release(self, sequence: Sequence) -> None:
        if sequence.slot is not None:
            self._model.talker.release(sequence.slot)
            heapq.heappush(self._free, sequence.slot)

    def check(self) -> None:
        """Every slot is free or one sequence's; IntegrityError otherwise."""
        leased = [one.slot for one in self._sequences.values() if one.slot is not None]
        if sorted(self._free + leased) != list(range(self._count)):
            raise IntegrityError(f"slots {sorted(self._free)} are free, {leased} leased, of {self._count}")

    @property
    def in_use(self) -> int:
        return self._count - len(self._free)

    def _waiting(self) -> Iterator[Sequence]:
        """Those that want a slot: swapped ones that have work, then new ones."""
        every = self._sequences.values()
        yield from (one for one in every if one.phase is Phase.SWAPPED and not one.is_idle)
        yield from (one for one in every if one.phase is Phase.WAITING)

    def _idle(self) -> Iterator[Sequence]:
        """Those whose slot may be taken."""
        if self._swaps:
            yield from (one for one in self._sequences.values() if one.phase is Phase.RUNNING and one.is_idle)

    def _swap_out(self, sequence: Sequence) -> None:
        talker, vocoder, slot = self._model.talker, self._model.vocoder, sequence.slot
        assert isinstance(talker, Swaps)
        assert isinstance(vocoder, Swaps)
        assert slot is not None
        kept = talker.swap_out(slot) if sequence.length is not None else None  # between segments it holds nothing
        sequence.swap_out((kept, vocoder.swap_out(slot)))
        talker.release(slot)
        heapq.heappush(self._free, slot)
        self._counters.swapped += 1

    def _start(self, sequence: Sequence, slot: int, now: float) -> None:
        kept = sequence.start(slot, now)
        if kept is None:
            return
        talker, vocoder = self._model.talker, self._model.vocoder
        assert isinstance(talker, Swaps)
        assert isinstance(vocoder, Swaps)
        if kept[0] is not None:
            talker.swap_in(slot, kept[0])
        vocoder.swap_in(slot, kept[1])
