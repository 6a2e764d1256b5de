"""Recordings as PyAV finds them, to what training reads: 16 kHz mono, no offset, one loudness."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
SPEECH_LEVEL = 0.1  # root mean square of the loud parts, -20 dBFS: about the teacher's
HIGHEST_PEAK = 0.95
_SILENT_PEAK = 10 ** (-50 / 20)
_LOUD_SHARE = 10 ** (-25 / 20)  # of the loudest 10 ms; what is quieter says nothing about how loud the voice is
_LEVEL_SAMPLES = 160
_POPS = 5  # so many times 10 ms may be louder than speech


class UnreadableAudioError(Exception):
    """Says why a recording cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    sample_rate_hz: int
    seconds: float


def probe(path: Path) -> Probe:
    """Opens the file and decodes its first frame."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise UnreadableAudioError("there is no sound in it")
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            if not seconds and container.duration:
                seconds = container.duration / av.time_base
            if next(container.decode(stream), None) is None:
                raise UnreadableAudioError("there is no sound in it")
    except (av.FFmpegError, OSError) as error:
        raise UnreadableAudioError(f"it cannot be decoded ({error})") from error
    if not seconds:  # its container does not say
        seconds = len(decode(path)) / SAMPLE_RATE_HZ
    return Probe(sample_rate_hz=rate, seconds=seconds)


@lru_cache(maxsize=1)  # neighbouring lines are often cuts of one file
def decode(path: Path) -> NDArray[np.float32]:
    """The whole file, its channels mixed: [S] at 16 kHz, in [-1, 1]. Resampled frame by frame: hours at the file's own
    rate would take three times the memory, and twice that where they are joined."""
    found = bytearray()  # grows in place
    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            to_float = av.AudioResampler(format="fltp", rate=rate)  # one row a channel
            to_rate = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, quality="VHQ")
            for frame in chain(container.decode(stream), (None,)):
                for one in to_float.resample(frame):
                    found += to_rate.resample_chunk(one.to_ndarray().mean(0)).tobytes()
            found += to_rate.resample_chunk(np.zeros(0, np.float32), last=True).tobytes()
    except (av.FFmpegError, OSError, IndexError) as error:
        raise UnreadableAudioError(f"it cannot be decoded ({error})") from error
    if not found:
        raise UnreadableAudioError("there is no sound in it")
    samples = np.frombuffer(found, np.float32)
    samples.flags.writeable = False  # the cache hands it out again
    return samples


def cut(path: Path, start_s: float, end_s: float | None) -> NDArray[np.float32]:
    end = None if end_s is None else round(end_s * SAMPLE_RATE_HZ)
    return decode(path)[round(start_s * SAMPLE_RATE_HZ) : end]


def levelled(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples [S] without their mean, brought to one loudness; peaks may hold that back. Those of a pop or two do not:
    they are cut off."""
    if not len(samples):
        raise UnreadableAudioError("nothing of it is inside the cut")
    wave = samples - samples.mean()
    hops = wave[: max(1, len(wave) // _LEVEL_SAMPLES) * _LEVEL_SAMPLES]
    hops = hops.reshape(-1, min(len(hops), _LEVEL_SAMPLES))
    power, peaks = _but_pops((hops**2).mean(axis=1)), _but_pops(np.abs(hops).max(axis=1))
    if peaks.max() < _SILENT_PEAK:
        raise UnreadableAudioError("it is silent: but for a click or two, no sample reaches -50 dBFS")
    loud = power[power >= power.max() * _LOUD_SHARE**2]
    gain = min(SPEECH_LEVEL / float(np.sqrt(loud.mean())), HIGHEST_PEAK / float(peaks.max()))
    return np.round(np.clip(wave * gain, -HIGHEST_PEAK, HIGHEST_PEAK) * 32767).astype(np.int16)


def _but_pops(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each 10 ms, [N]: none above the one behind the largest, `_POPS` or a tenth of them."""
    return np.minimum(values, np.sort(values)[-1 - min(_POPS, len(values) // 10)])
