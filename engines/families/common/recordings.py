"""What a recording must be like before a voice is made of it."""

from __future__ import annotations

import numpy as np

from engines.errors import BadParameter
from engines.runtime.base import FloatArray

MIN_S, MAX_S = 2.0, 30.0
MIN_RATE_HZ = 16_000
_WINDOW_S = 0.02
_SILENT, _LOUD = 0.003, 0.02  # of full scale, a window's effective value
_MOST_SILENT, _MOST_CLIPPED = 0.6, 0.001
_CLIPPED = 0.999


def check_recording(samples: FloatArray, rate_hz: int) -> None:
    """samples [S], mono, as recorded. Raises BadParameter, which names the value and what is right."""
    if rate_hz < MIN_RATE_HZ:
        raise BadParameter(f"the recording has {rate_hz} Hz, right is {MIN_RATE_HZ} Hz or more")
    seconds = len(samples) / rate_hz
    if not MIN_S <= seconds <= MAX_S:
        raise BadParameter(f"the recording is {seconds:.1f} s long, right is {MIN_S:g} to {MAX_S:g} s")
    if not np.isfinite(samples).all():
        raise BadParameter("the recording has samples that are no numbers")
    size = int(_WINDOW_S * rate_hz)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    levels = np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1))
    if levels.max() < _LOUD:
        level, right = (20 * np.log10(max(float(one), 1e-6)) for one in (levels.max(), _LOUD))
        raise BadParameter(
            f"the recording is too quiet: its loudest 20 ms are at {level:.0f} dBFS, right is above {right:.0f}"
        )
    silent = float((levels < _SILENT).mean())
    if silent > _MOST_SILENT:
        raise BadParameter(f"{silent:.0%} of the recording is silence, right is at most {_MOST_SILENT:.0%}: cut it")
    clipped = float((np.abs(samples) >= _CLIPPED).mean())
    if clipped > _MOST_CLIPPED:
        right = f"right is at most {_MOST_CLIPPED:.1%}: record it at a lower level"
        raise BadParameter(f"{clipped:.1%} of the samples are clipped, {right}")
