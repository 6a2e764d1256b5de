"""A model as the engine is given it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engines.families.base import Drafter, Family, ModelSpec, Talker, Vocoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A family and its parts on their devices, as `engines.assemble` puts them together."""

    family: Family
    spec: ModelSpec
    talker: Talker
    vocoder: Vocoder
    drafter: Drafter | None
    arithmetic: Callable[[str], str]  # kernels -> all that decides last bits besides the bundle
    device: str = "cpu"  # that the speech model runs on, with remarks on the choice
    awaits: bool = False  # a device works while the thread that called it sleeps: only a clock tells how long it takes
    why_no_gpu: str | None = None  # where one was looked for

    @property
    def kernels(self) -> str:
        """Whose they are; of both parts where they differ."""
        talker, vocoder = self.talker.kernels, self.vocoder.kernels
        return talker if talker == vocoder else f"{talker}; vocoder: {vocoder}"
