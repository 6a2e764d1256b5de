"""The ear: decodes what came, and says at which borders it clicks. Knows neither server nor socket.

A click is a step. Where there is a reference, what differs from it is weighed by its slope, which lossy codecs keep
low; where there is none, a step is a bend far sharper than all around it. The same is asked of places between the
borders: speech has sharp bends of its own, and only more of them at the borders would be the borders' doing.
"""

from __future__ import annotations

import io

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from loadtests.formats.asking import Form

Samples = NDArray[np.float64]  # in units of 16-bit samples
CHUNK_S = 0.04  # chunks are multiples of it
_NEAR_S, _AROUND_S = 0.0015, 0.005
_SLOPE_FACTOR, _BEND_FACTOR = 4.0, 3.0
_FLOOR = 20.0  # inaudible differences
_MOST_DELAY_S = 0.2  # MP3 at 8 kHz: 0.14


def of_pcm(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def decoded(data: bytes, form: Form) -> tuple[Samples, int]:
    """Samples and their rate; Opus is always decoded at 48 kHz."""
    if form.codec == "pcm":
        return of_pcm(data), form.rate_hz
    if form.codec == "pcm_f32":
        return np.frombuffer(data, "<f4").astype(np.float64) * 32_768, form.rate_hz
    if form.codec in ("ulaw", "alaw"):
        return _g711(data, form.codec), form.rate_hz
    with av.open(io.BytesIO(data), "r") as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
        rate_hz = file.streams.audio[0].rate
    whole = np.concatenate(frames, axis=1)[0]
    return (whole if whole.dtype == np.int16 else whole * 32_768.0).astype(np.float64), rate_hz


def _g711(data: bytes, codec: str) -> Samples:
    decoder = av.CodecContext.create("pcm_mulaw" if codec == "ulaw" else "pcm_alaw", "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    (frame,) = decoder.decode(av.Packet(data))
    return np.asarray(frame.to_ndarray()[0], np.float64)


def at_rate(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    return samples if from_hz == to_hz else np.asarray(soxr.resample(samples, from_hz, to_hz), np.float64)


def aligned(heard: Samples, wanted: Samples, rate_hz: int) -> Samples:
    """`heard` from where `wanted` begins in it: decoders put silence first."""
    most = round(_MOST_DELAY_S * rate_hz)
    probe = wanted[: max(len(wanted) // 2, 1)]
    window = heard[: len(probe) + most]
    size = 2 ** int(np.ceil(np.log2(len(window) + len(probe))))
    likeness = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(probe, size)), size)
    return heard[int(np.argmax(likeness[:most])) :]


def chunk_places(length: int, rate_hz: int, shift: float = 0.0) -> list[int]:
    """Every place where a chunk may end; `shift` 0.5 gives the middles between them."""
    step = rate_hz * CHUNK_S
    return [round((place + shift) * step) for place in range(1, int(length / step - shift))]


def steps(heard: Samples, wanted: Samples, places: list[int], rate_hz: int) -> list[int]:
    """The places where `heard` leaves `wanted` far more abruptly than codecs do elsewhere."""
    count = min(len(heard), len(wanted))
    slope = np.abs(np.diff(heard[:count] - wanted[:count]))
    near = max(1, round(rate_hz * _NEAR_S))
    limit = _SLOPE_FACTOR * (float(np.quantile(slope, 0.999)) + _FLOOR)
    return [place for place in places if slope[max(0, place - near) : place + near].max(initial=0.0) > limit]


def bends(heard: Samples, places: list[int], rate_hz: int) -> list[int]:
    """The places where `heard` alone bends far more sharply than in the milliseconds around."""
    bend = np.abs(np.diff(heard, 2))
    around = round(rate_hz * _AROUND_S)
    found = []
    for place in places:
        at = bend[max(0, place - 3) : place + 2].max(initial=0.0)
        before, behind = bend[max(0, place - around) : max(0, place - 6)], bend[place + 5 : place + around]
        usual = max(before.max(initial=0.0), behind.max(initial=0.0))
        if at > _BEND_FACTOR * usual + _FLOOR:
            found.append(place)
    return found


def damaged(heard: Samples, places: list[int], rate_hz: int) -> tuple[Samples, int]:
    """A millisecond lost at the loudest of `places`; and that place."""
    lost = max(8, round(rate_hz * 0.001))
    loudest = max(places, key=lambda place: float(np.abs(heard[place - lost : place + lost]).sum()))
    broken = heard.copy()
    broken[loudest - lost // 2 : loudest + lost // 2] = 0.0
    return broken, loudest
