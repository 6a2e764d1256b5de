"""What only some Talkers, Vocoders and families can do, beside the Protocols in `base`. The core asks by type."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Swaps(Protocol):
    """A Talker or Vocoder whose slots can be given away in the middle of an utterance: what a slot holds goes to host
    memory and comes back into any free slot, with the same bits. Where both have it, idle streams are swapped."""

    def swap_out(self, slot: int) -> object:
        """No call over the slot is in flight. The slot is free then, as after `release`."""
        ...

    def swap_in(self, slot: int, kept: object) -> None: ...


@runtime_checkable
class LaunchesAhead(Protocol):
    """A Talker that takes the next `step`, a decode, before it was waited for the last; waits come in the order of the
    steps. Only of a family that plans its ends: where `peek` knows another row, the segment goes on."""

    launches_ahead: bool


@runtime_checkable
class AddsVoices(Protocol):
    """A family that speaks with cloned voices has this too. They are encoded in a process of its own, never in the
    engine's loop."""

    def set_voice(self, name: str, content: bytes | None) -> None:
        """A voice file's content, checked already; None: the voice is no more. Utterances in progress go on."""
        ...
