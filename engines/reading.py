"""Whose text is read now, and how much of it.

What is read changes no sound, only when it can be made. A round reads a bounded number of characters, and unpacks what
requests brought (dictionaries) with at most half of them, whatever the texts are.
"""

from __future__ import annotations

from collections.abc import Collection

from engines.errors import EngineFault, ParlandoError
from engines.families.base import ScriptState
from engines.sequence import Phase, Sequence
from engines.steps import Made


class Reading:
    def __init__(self, chars: int, sequences: Collection[Sequence]) -> None:
        """`chars`: read in a round, of all together; a quarter of them of one sequence is enough to begin with.
        `sequences`: a live view of all."""
        self._chars, self._slice_chars, self._sequences = chars, max(1, chars // 4), sequences

    @property
    def readable(self) -> list[Sequence]:
        """Those of which there is text to read now."""
        return [one for one in self._sequences if one.script.readable and one.phase is not Phase.DRAINING]

    def run(self, now: float) -> Made:
        """A slice of each sequence, the most urgent first, as far as the round's share goes."""
        done, left = Made(), self._chars
        for sequence in sorted(self.readable, key=lambda one: (one.spare_s(now, one.made), one.arrived_s)):
            state = sequence.script.state
            if state is ScriptState.PREPARING:
                left = self._prepare(sequence, left, done)
                if sequence.script.state is ScriptState.PREPARING or left <= 0:
                    continue
            left -= self._read(sequence, min(left, self._slice_chars), done)
            if sequence.script.state is not state and (sequence.can_step or sequence.can_prefill):
                done.ready.append(sequence)
            if left <= 0:
                break
        return done

    def _prepare(self, sequence: Sequence, left: int, done: Made) -> int:
        """Returns what is left of the round's share."""
        while left > self._chars // 2 and sequence.script.state is ScriptState.PREPARING:
            left -= self._read(sequence, self._slice_chars, done)
        return left

    def _read(self, sequence: Sequence, chars: int, done: Made) -> int:
        done.read.append(sequence)
        try:
            read = sequence.script.read(chars)
            sequence.see_end()
        except ParlandoError as error:
            done.failed.append((sequence, error))
        except Exception as error:  # no text may take the other streams with it
            done.failed.append((sequence, EngineFault(f"the text could not be read: {error!r}")))
        else:
            return read
        return chars
