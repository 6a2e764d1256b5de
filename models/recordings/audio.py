"""Recordings as PyAV finds them, to what training reads: 16 kHz mono, no offset, one loudness."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
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
    """The whole file, its channels mixed: [S] at 16 kHz, in [-1, 1]."""
    parts: list[NDArray[np.float32]] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            to_float = av.AudioResampler(format="fltp", rate=rate)  # one row a channel
            for frame in container.decode(stream):
                parts += [one.to_ndarray().mean(0) for one in to_float.resample(frame)]
            parts += [one.to_ndarray().mean(0) for one in to_float.resample(None)]
    except (av.FFmpegError, OSError, IndexError) as error:
        raise UnreadableAudioError(f"it cannot be decoded ({error})") from error
    if not parts:
        raise UnreadableAudioError("there is no sound in it")
    found = soxr.resample(np.concatenate(parts), rate, SAMPLE_RATE_HZ, "VHQ")
    found.flags.writeable = False  # the cache hands it out again
    return found


def cut(path: Path, start_s: float, end_s: float | None) -> NDArray[np.float32]:
    end = None if end_s is None else round(end_s * SAMPLE_RATE_HZ)
    return decode(path)[round(start_s * SAMPLE_RATE_HZ) : end]


def levelled(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples [S] without their mean, brought to one loudness; a peak may hold that back."""
    if not len(samples):
        raise UnreadableAudioError("nothing of it is inside the cut")
    wave = samples - samples.mean()
    peak = float(np.abs(wave).max())
    if peak < _SILENT_PEAK:
        raise UnreadableAudioError("it is silent: no sample reaches -50 dBFS")
    whole = len(wave) // _LEVEL_SAMPLES * _LEVEL_SAMPLES
    power = (wave[:whole].reshape(-1, _LEVEL_SAMPLES) ** 2).mean(axis=1) if whole else np.array([peak**2])
    loud = power[power >= power.max() * _LOUD_SHARE**2]
    gain = min(SPEECH_LEVEL / float(np.sqrt(loud.mean())), HIGHEST_PEAK / peak)
    return np.round(wave * gain * 32767).astype(np.int16)
