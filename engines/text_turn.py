"""The text's part of the loop: whose text is read now, and how much of it.

It looks only at those to whom something has happened: more text came, or codes were made of what was read. What is
read changes no sound, only when it can be made. A round reads a bounded number of characters and words, and unpacks at
most one part of a dictionary, whatever the texts are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engines.errors import EngineFault, ParlandoError
from engines.messages import EndText, Flush
from engines.sequence import Sequence

_SLICE_CHARS = 64  # of one sequence a round: enough to begin with
PART_CHARS = 64  # what unpacking a part of a dictionary costs, in characters


@dataclass(frozen=True, slots=True)
class Read:
    """What one round of reading has done."""

    sequences: list[Sequence] = field(default_factory=list)
    made_ready: list[Sequence] = field(default_factory=list)  # of them, those that can be decoded only now
    failed: list[tuple[Sequence, ParlandoError]] = field(default_factory=list)


class TextTurn:
    def __init__(self, chars: int) -> None:
        """`chars`: read in a round, of all together."""
        self._chars = chars
        self._changed: dict[str, Sequence] = {}  # by name

    def add(self, sequence: Sequence, step: str | Flush | EndText, now: float) -> None:
        sequence.add_text(step, now)
        self._changed[sequence.request.request_id] = sequence

    def spoke(self, sequences: Iterable[Sequence]) -> None:
        """Codes of them were made, so that more of their text may be wanted."""
        for sequence in sequences:
            if sequence.unread:
                self._changed[sequence.request.request_id] = sequence

    @property
    def has_text(self) -> bool:
        """Whether there is something to read now."""
        return any(one.readable for one in self._changed.values())

    def run(self, now: float) -> Read:
        """Reads a slice of what has come for each sequence, the most urgent first, as far as the round's share goes."""
        done, left = Read(), self._chars
        if not self._changed:
            return done
        readable = [one for one in self._changed.values() if one.readable]
        readable.sort(key=lambda one: (one.spare_s(now, len(one.codes)), one.submitted_s))
        left = self._prepare(readable, left)
        for sequence in readable:
            if not sequence.text.prepared:
                continue
            was_ready = sequence.ready
            done.sequences.append(sequence)
            try:
                left -= sequence.read(min(left, _SLICE_CHARS))
            except ParlandoError as error:
                done.failed.append((sequence, error))
            except Exception as error:  # no text may take the other streams with it
                done.failed.append((sequence, EngineFault(f"the text could not be read: {error!r}")))
            if sequence.ready and not was_ready:
                done.made_ready.append(sequence)
            if left <= 0:
                break
        # What has enough for now is looked at again after its next code.
        self._changed = {name: one for name, one in self._changed.items() if one.readable}
        return done

    def _prepare(self, readable: list[Sequence], left: int) -> int:
        """Unpacks dictionaries with at most half of the round's share; returns what is left of it."""
        half = left // 2
        for sequence in readable:
            while not sequence.text.prepared:
                if left <= half:
                    return left
                sequence.text.prepare()
                left -= PART_CHARS
        return left
