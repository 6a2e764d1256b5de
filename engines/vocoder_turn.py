"""The vocoder's part of the loop: whose codes are its next job.

Of all whose chunk is large enough for their lead the most urgent goes first, and whoever brings as many codes goes
with it; but nobody who has time goes with somebody who is waited for, since every row makes the job longer. It looks
only when something has changed: `changed` is told of codes, of audio that came back, of text that was read, of pauses
and ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from engines.config import EngineConfig
from engines.scheduling.device_profile import DeviceProfile
from engines.scheduling.policy import Marks, chunk_codes, first_chunk
from engines.sequence import Phase, Sequence
from engines.vocoding import VocoderRow, Vocoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    sequences: list[Sequence]
    codes: int  # of each
    urgent: bool
    next_lead_s: float | None  # the least lead of those who are due and do not come with it


class VocoderTurn:
    def __init__(
        self,
        config: EngineConfig,
        profile: DeviceProfile,
        vocoding: Vocoding,
        runnable: Callable[[Sequence, float], bool],
    ) -> None:
        """`runnable` tells whether more codes of a sequence may be made now."""
        self._config, self._profile, self._vocoding, self._runnable = config, profile, vocoding, runnable
        self._marks = Marks.of(profile.frame_s)
        self._changed = False
        self._look_at_s = math.inf  # when words are no longer expected that a first code alone is kept back for

    def changed(self) -> None:
        """Somebody may be due who was not."""
        self._changed = True

    def dispatch(self, sequences: Collection[Sequence], now: float) -> None:
        """Gives the vocoder its next job, if there is one."""
        job = self.next_job(sequences, now)
        if job is None:
            return
        rows = [VocoderRow.take(one, job.codes) for one in job.sequences]
        self._vocoding.start(rows, urgent=job.urgent)
        lead_s = job.next_lead_s
        self._changed = lead_s is not None and self._vocoding.room(urgent=self._marks.is_urgent(lead_s))

    def next_job(self, sequences: Collection[Sequence], now: float) -> Job | None:
        """None where nobody is due, and without room for a job."""
        if not self._vocoding.room(urgent=True) or not (self._changed or now >= self._look_at_s):
            return None
        due = self._due(sequences, now)
        self._changed = bool(due)  # with nobody due, nobody will be until something changes
        if not due:
            return None
        due.sort(key=lambda item: item[0])
        (lead_s, _), codes, _ = due[0]
        most = max(1, self._config.vocoder_job_codes // max(1, codes))
        hurry = self._marks.is_urgent(lead_s)
        chosen = [item for item in due if item[1] == codes and self._marks.is_urgent(item[0][0]) == hurry][:most]
        left = next((item[0][0] for item in due if item not in chosen), None)
        sequences = [one for _, _, one in chosen]
        return Job(sequences=sequences, codes=codes, urgent=hurry, next_lead_s=left)

    def wait_s(self, now: float) -> float:
        """For how long there is nothing to do unless something changes. Without room it is the vocoder that wakes."""
        return self._look_at_s - now if self._vocoding.room(urgent=True) else math.inf

    def _due(self, sequences: Collection[Sequence], now: float) -> list[tuple[tuple[float, float], int, Sequence]]:
        """(urgency, codes, sequence) of all that could be vocoded now; asked after every call, so it asks little of
        each."""
        due, only_urgent = [], not self._vocoding.room(urgent=False)
        crowded = self._profile.is_crowded(sum(one.phase is Phase.RUNNING for one in sequences))
        self._look_at_s = math.inf
        for sequence in sequences:
            if sequence.in_vocoder or sequence.phase is not Phase.RUNNING or sequence.paused or sequence.flushed_tail:
                continue
            if only_urgent and sequence.plays_for_s(now) >= self._marks.urgent_s:
                continue  # its lead is that at least
            pending = sequence.pending
            if pending == 0 and not sequence.spoken_out:
                continue
            lead_s = sequence.spare_s(now, sequence.vocoded)
            if only_urgent and not self._marks.is_urgent(lead_s):
                continue
            quiet = max(0, sequence.quiet_codes - sequence.vocoded)
            first = quiet + first_chunk(crowded=crowded) if sequence.begins(now) else None
            count = chunk_codes(pending, lead_s, self._marks, first=first, no_more=False)
            if count == 0 and pending and not self._runnable(sequence, now):
                expected_s = sequence.words_expected_s(now)
                if expected_s <= 0:
                    count = chunk_codes(pending, lead_s, self._marks, first=first, no_more=True)
                else:
                    self._look_at_s = min(self._look_at_s, now + expected_s)
            if count or pending == 0:
                due.append(((lead_s, sequence.submitted_s), count, sequence))
        return due
