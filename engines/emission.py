"""Events of a round, in order: what is told of sequences, and of their audio as it comes back from the vocoder."""

from __future__ import annotations

from engines.counters import Counters
from engines.errors import Overloaded, ParlandoError
from engines.messages import Cancelled, Chunk, Event, Failed, Finished, Started, WaitingForText
from engines.sequence import Phase, Sequence, VocoderRow


class Emission:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._events: list[Event] = []
        self._perhaps_starved: dict[str, Sequence] = {}  # by name: text was read or prefilled, or audio came back

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def started(self, sequence: Sequence) -> None:
        self._events.append(Started(request_id=sequence.request.request_id))

    def cancelled(self, sequence: Sequence) -> None:
        self._counters.cancelled += 1
        self._events.append(Cancelled(request_id=sequence.request.request_id, samples=sequence.samples))

    def failed(self, request_id: str, error: ParlandoError) -> None:
        self._counters.failed += 1
        later_s = error.retry_after_s if isinstance(error, Overloaded) else None
        self._events.append(Failed(request_id=request_id, code=error.code, message=str(error), retry_after_s=later_s))

    def audio(self, sequence: Sequence, row: VocoderRow, pcm: bytes, now: float) -> bool:
        """Returns whether it came late."""
        pcm = sequence.audible(pcm, last=row.last)
        if not pcm:
            return False
        words, first_sample = sequence.words_until(row.end_frame), sequence.samples
        late = sequence.is_late(now)
        self._counters.late_chunks += late
        self._events.append(Chunk(request_id=row.request_id, pcm=pcm, first_sample=first_sample, words=words))
        sequence.play(len(pcm) // 2, now)
        return late

    def finished(self, sequence: Sequence, now: float) -> None:
        self._counters.finished += 1
        self._events.append(
            Finished(
                request_id=sequence.request.request_id,
                samples=sequence.samples,
                timings=sequence.timings(now),
                warnings=sequence.script.warnings,
            )
        )

    def perhaps_starved(self, sequence: Sequence) -> None:
        self._perhaps_starved[sequence.request.request_id] = sequence

    def tell_starved(self) -> None:
        """Tells which streams have spoken all the text there is."""
        for name, sequence in self._perhaps_starved.items():
            if sequence.phase in (Phase.RUNNING, Phase.SWAPPED) and not sequence.told_waiting and sequence.starved:
                sequence.wait_for_text()
                told = WaitingForText(request_id=name, spoken_samples=sequence.samples, heard=sequence.heard)
                self._events.append(told)
        self._perhaps_starved.clear()
