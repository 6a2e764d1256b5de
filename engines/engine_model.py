"""A model as the engine is given it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engines.config import DeviceChoice
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
    why_no_gpu: str | None = None  # where one was looked for
    passed_over: str | None = None  # on a GPU: a quicker backend, and why it does not serve
    one_shape: str | None = None  # on a GPU, deterministic: what it costs that all calls have one shape

    @property
    def kernels(self) -> str:
        """Whose they are; of both parts where they differ."""
        talker, vocoder = self.talker.kernels, self.vocoder.kernels
        return talker if talker == vocoder else f"{talker}; vocoder: {vocoder}"

    def device(self, asked: DeviceChoice) -> str:
        """What serves, and where a GPU was asked for why it does not."""
        found, reason = self.talker.device, self.why_no_gpu
        if self.one_shape:
            found = f"{found}, deterministic: {self.one_shape}"
        if self.passed_over:
            return f"{found}, passed over: {self.passed_over}"
        return f"{found}, not cuda: {reason}" if reason and asked is DeviceChoice.CUDA else found
