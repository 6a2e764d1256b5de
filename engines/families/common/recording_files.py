"""A recording's file as samples, for the server and for export alike: what one reads the other reads too.

What is read is a stranger's file. The server calls this in a process of its own alone.
"""

from __future__ import annotations

import io

import av
import numpy as np
from numpy.typing import NDArray

from engines.errors import BadParameter

READ_AS = "WAV, FLAC, MP3, Ogg, AAC, M4A or WebM"
SUFFIXES = frozenset(".wav .w64 .flac .mp3 .ogg .oga .opus .aac .m4a .mp4 .mka .webm .aif .aiff".split())
_FORMATS = "wav,flac,mp3,ogg,aac,mov,matroska,w64,aiff"  # none that opens other files
_ESTIMATED = ("aac", "mp3")  # frames without a length: FFmpeg guesses it from the first ones
_OPEN_BYTES = 0x7FFFFF00  # and more: a WAV file that was written as a stream
_MOST_S = 120.0  # what is longer is refused anyway


def decoded(content: bytes) -> tuple[NDArray[np.float32], int]:
    """Mono samples [S] at the recording's own rate. Raises BadParameter."""
    _check_length(content)
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    try:
        with av.open(io.BytesIO(content), "r", options=options) as container:
            if not container.streams.audio:
                raise BadParameter(f"the file has no audio, right is {READ_AS}")
            stream = container.streams.audio[0]
            rate_hz, stated_s = stream.rate, None
            if container.format.name not in _ESTIMATED:
                stated_s = _stated_s(stream.duration, stream.time_base)
            floats = av.AudioResampler("fltp")
            pieces, count = [np.zeros(0, np.float32)], 0
            for frame in container.decode(stream):
                for one in floats.resample(frame):
                    pieces.append(one.to_ndarray().mean(axis=0, dtype=np.float32))  # of its channels
                    count += len(pieces[-1])
                if count > _MOST_S * rate_hz:
                    break
    except (av.FFmpegError, ValueError) as error:
        raise BadParameter(f"the file cannot be read as audio ({error}), right is {READ_AS}") from error
    found_s = count / rate_hz
    if stated_s is not None and found_s < min(stated_s, _MOST_S) - 0.5:
        raise BadParameter(f"the file is broken off: it says {stated_s:.1f} s and holds {found_s:.1f} s")
    return np.concatenate(pieces), rate_hz


def _check_length(content: bytes) -> None:
    """Of a WAV file, whose stated length FFmpeg corrects without a word."""
    stated = int.from_bytes(content[4:8], "little")
    if content[:4] == b"RIFF" and len(content) < stated + 8 and stated < _OPEN_BYTES:
        raise BadParameter(f"the file is broken off: it says {stated + 8} bytes and has {len(content)}")


def _stated_s(duration: int | None, time_base: object) -> float | None:
    return None if duration is None else float(duration * time_base)  # type: ignore[operator]
