"""What admission has to know of the sequences, counted."""

from __future__ import annotations

from collections.abc import Collection

from engines.admission import Load
from engines.sequence import Phase, Sequence


def load_of(sequences: Collection[Sequence], now: float) -> Load:
    """In one pass, since it is asked for everybody who comes."""
    running = pending = steps = thin = backlog = 0
    for one in sequences:
        if one.phase is Phase.DRAINING or not one.speaks(now):
            continue
        running += 1
        steps += one.past
        backlog += one.wants_codes(now)
        if one.first_chunk_s is None:
            pending += bool(one.unread or one.segments)
        else:
            thin += one.thin(now)
    context = steps / max(1, running)
    return Load(running=running, first_pending=pending, mean_context=context, thin=thin, backlog=backlog)
