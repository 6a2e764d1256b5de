"""From complex frames to samples at the listener's rate, for all rows of one rate at once.

The same frames speak at 8 to 48 kHz: the inverse transform is longer or shorter, its spectrum padded or cut, its hop
scaled. No resampler, no added delay. A row's samples depend on its own frames only, in any chunking.
"""

from __future__ import annotations

import numpy as np

from engines.errors import BadParameter
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.base import FloatArray

RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)


def check_rate(bundle: Bundle, rate_hz: int) -> None:
    """Raises BadParameter where the voice cannot be spoken at that rate."""
    if rate_hz not in RATES_HZ:
        raise BadParameter(f"sample rate {rate_hz} Hz is not offered; valid: {', '.join(map(str, RATES_HZ))}")
    if not has_rate(bundle, rate_hz):
        raise BadParameter(f"a voice of {bundle.sample_rate_hz} Hz has no whole frames at {rate_hz} Hz")


def has_rate(bundle: Bundle, rate_hz: int) -> bool:
    """Whether frames have whole windows and hops at that rate."""
    return not any(length * rate_hz % bundle.sample_rate_hz for length in (bundle.window_samples, bundle.hop_length))


class OverlapAdd:
    """The geometry and window for one output rate; shared by all rows. In float32: it goes to 16 bits."""

    def __init__(self, bundle: Bundle, rate_hz: int) -> None:
        check_rate(bundle, rate_hz)
        self.rate_hz = rate_hz
        self.size = bundle.window_samples * rate_hz // bundle.sample_rate_hz
        self.hop = bundle.hop_length * rate_hz // bundle.sample_rate_hz
        self._native_size = bundle.window_samples
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.size) / self.size)
        overlapped = np.zeros(self.hop)
        for start in range(0, self.size, self.hop):
            part = hann[start : start + self.hop] ** 2
            overlapped[: len(part)] += part
        window = hann / np.resize(overlapped, self.size) * (self.size / self._native_size)
        self._window = window.astype(np.float32)

    @property
    def look_back(self) -> int:
        """Samples of a frame that lie before its newest hop; as many precede sample 0 of an utterance."""
        return self.size - self.hop

    def start(self) -> FloatArray:
        """A row's state before the first frame: [look_back] sums still open."""
        return np.zeros(self.look_back, np.float32)

    def run(self, spectrum: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """spectrum [R, F, 2, bins], state [R, look_back] -> finished samples [R, F * hop], state"""
        rows, frames, _, bins = spectrum.shape
        kept = min(self.size // 2 + 1, bins)
        complete = np.zeros((rows, frames, self.size // 2 + 1), np.complex64)
        complete.real[..., :kept] = spectrum[:, :, 0, :kept]
        complete.imag[..., :kept] = spectrum[:, :, 1, :kept]
        if self.size > self._native_size:
            # The Nyquist bin stood for both its mirror images; in a longer transform each has a place of its own.
            complete[..., bins - 1] *= np.float32(0.5)
        windowed = np.fft.irfft(complete, self.size, axis=-1)
        windowed *= self._window
        # Hop k of each window lands k hops after its frame. The last hop (the oldest frames) is added first, so that
        # a sample sums its frames in the order of time, as it does when they come in several chunks.
        hops = -(-self.size // self.hop)
        grid = np.zeros((rows, frames + hops - 1, self.hop), np.float32)
        total = grid.reshape(rows, -1)
        total[:, : self.look_back] = state
        for k in range(hops - 1, -1, -1):
            part = windowed[:, :, k * self.hop : (k + 1) * self.hop]
            grid[:, k : k + frames, : part.shape[2]] += part
        done = frames * self.hop
        return total[:, :done], total[:, done : done + self.look_back].copy()
