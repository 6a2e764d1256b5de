"""Voices as keys and values before any text: those of a bundle, as the exporter wrote them, and cloned ones.

A Talker keeps each voice in a row behind its slots and copies it where a chunk begins:

    rows  [0, slots)  [slots, slots + the bundle's voices + SPARE_ROWS)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.errors import BundleError
from engines.families.pocket.bundle import Bundle, Voice
from engines.runtime.base import FloatArray

SPARE_ROWS = 4  # for cloned voices; the voice used longest ago gives its row to another


@dataclass(frozen=True, eq=False, slots=True)
class VoicePrefix:
    """What a slot's cache holds before any text."""

    id: str  # another one for other keys and values
    keys: FloatArray  # [layers, kv_heads, T, head_dim]
    values: FloatArray

    @property
    def positions(self) -> int:
        return int(self.keys.shape[2])


def prefix_of(bundle: Bundle, voice: Voice) -> VoicePrefix:
    """Raises BundleError."""
    lm = bundle.lm
    wanted = (2, lm.layers, lm.kv_heads, voice.positions, lm.head_dim)
    try:
        cache = np.load(bundle.folder / voice.file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{voice.file} is no readable voice: {error}") from error
    if cache.shape != wanted or cache.dtype != np.float32:
        raise BundleError(
            f"{voice.file} is {cache.dtype} {list(cache.shape)}, the manifest makes it float32 {list(wanted)}"
        )
    return VoicePrefix(voice.id, cache[0], cache[1])


class VoiceRows:
    """Which voice lies in which row behind the slots."""

    def __init__(self, bundle: Bundle, slots: int, keep: Callable[[VoicePrefix, int], None]) -> None:
        """`keep` writes a voice to a row."""
        self._bundle, self._keep = bundle, keep
        self._rows = OrderedDict[str, int]()  # by voice, the oldest use first
        self.count = len(bundle.voices) + (SPARE_ROWS if bundle.cloning else 0)
        self._free = [*range(slots + self.count - 1, slots - 1, -1)]

    def fill(self) -> None:
        """With the bundle's own voices."""
        for voice in self._bundle.voices:
            self.row_of(prefix_of(self._bundle, voice))

    def row_of(self, voice: VoicePrefix) -> int:
        row = self._rows.get(voice.id)
        if row is None:
            row = self._free.pop() if self._free else self._rows.popitem(last=False)[1]
            self._keep(voice, row)
            self._rows[voice.id] = row
        self._rows.move_to_end(voice.id)
        return row
