"""Voices of a bundle: keys and values of each, as the exporter wrote them."""

from __future__ import annotations

import numpy as np

from engines.errors import BundleError
from engines.families.pocket.bundle import Bundle, Voice
from engines.runtime.base import FloatArray


class VoicePrefix:
    """What a slot's cache holds before any text."""

    def __init__(self, bundle: Bundle, voice: Voice) -> None:
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
        self.keys: FloatArray = cache[0]  # [layers, kv_heads, T, head_dim]
        self.values: FloatArray = cache[1]
        self.id, self.positions = voice.id, voice.positions
