"""A whole utterance encoded here in one piece, by the same encoders of FFmpeg at the same bit rates.

What a stream is compared with: whatever chunks it was made of, it must decode to the same samples. G.711 has no memory
and needs no encoder of its own here: FFmpeg's gives the same steps.
"""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from loadtests.formats.asking import Form

_ENCODERS = {
    "mp3": ("libmp3lame", "s16p"),
    "aac": ("aac", "fltp"),
    "opus": ("libopus", "s16"),
    "webm": ("libopus", "s16"),
}
_CONTAINERS = {"mp3": "mp3", "aac": "adts", "opus": "ogg", "webm": "webm"}
_OPUS_BIT_RATE = 32_000


def encoded(pcm: bytes, form: Form) -> bytes:
    """s16le at the format's rate -> a file. Lossy formats only."""
    name, sample_format = _ENCODERS[form.codec]
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = form.rate_hz, 0, Fraction(1, form.rate_hz)
    if form.codec == "mp3":  # as a stream has it: frames alone, without the header that a file begins with
        codec = av.CodecContext.create(name, "w")
        assert isinstance(codec, AudioCodecContext)
        codec.sample_rate, codec.layout, codec.format = form.rate_hz, "mono", sample_format
        codec.time_base, codec.bit_rate = Fraction(1, form.rate_hz), _bit_rate(form)
        return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))
    file = io.BytesIO()
    with av.open(file, "w", format=_CONTAINERS[form.codec]) as container:
        stream = container.add_stream(name, rate=form.rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.format, stream.bit_rate = "mono", sample_format, _bit_rate(form)
        if form.codec in ("opus", "webm"):
            stream.options = {"application": "audio", "frame_duration": "20"}
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _bit_rate(form: Form) -> int:
    if form.codec in ("opus", "webm"):
        return _OPUS_BIT_RATE
    return 32_000 if form.rate_hz <= 12_000 else 64_000 if form.rate_hz <= 24_000 else 96_000
