"""Encoders of FFmpeg through PyAV: MP3, AAC, FLAC, Opus in Ogg or WebM. One object is one stream.

None needs to seek: sizes that are not known are left open, as streaming players expect. What an encoder holds back
(its look-ahead, a started block) comes with later chunks or with `finish`. A chunk takes tenths of a millisecond to
some milliseconds, without the interpreter lock: run them on a worker thread, one job of a stream at a time.

First bytes, with chunks of 40 ms at 24 kHz: FLAC, Ogg and WebM with the first chunk, MP3 with the second (LAME looks
800 samples ahead), AAC with the third (it looks one block of 1,024 samples ahead).
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

_FLAC_BLOCKS_HZ = 25  # a block is one chunk of 40 ms, so that a chunk leaves at once
_PAGE_US = 20_000
_ADTS_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)


class _Codec:
    """Samples in, packets out. A subclass says what goes around a packet."""

    def __init__(self, name: str, sample_format: str, rate_hz: int, bit_rate: int | None = None) -> None:
        codec = av.CodecContext.create(name, "w")
        assert isinstance(codec, AudioCodecContext)
        codec.sample_rate, codec.layout, codec.format = rate_hz, "mono", sample_format
        codec.time_base = Fraction(1, rate_hz)
        codec.thread_count = 1
        if bit_rate is not None:
            codec.bit_rate = bit_rate
        self._codec, self._rate_hz, self._samples = codec, rate_hz, 0

    def encode(self, pcm: bytes) -> bytes:
        if not pcm:
            return b""
        frame = _frame(pcm, self._rate_hz, self._samples)
        self._samples += frame.samples
        return b"".join(self._wrapped(bytes(packet)) for packet in self._codec.encode(frame))

    def finish(self) -> bytes:
        return b"".join(self._wrapped(bytes(packet)) for packet in self._codec.encode(None))

    def _wrapped(self, packet: bytes) -> bytes:
        return packet


class Mp3(_Codec):
    """Frames of constant bit rate. A decoder hears 1,105 samples of silence first: LAME's delay and its own."""

    def __init__(self, rate_hz: int, bit_rate: int) -> None:
        super().__init__("libmp3lame", "s16p", rate_hz, bit_rate)


class Aac(_Codec):
    """AAC-LC, each packet behind an ADTS header. A decoder hears 1,024 samples of silence first."""

    def __init__(self, rate_hz: int, bit_rate: int) -> None:
        super().__init__("aac", "fltp", rate_hz, bit_rate)
        self._rate_index = _ADTS_RATES_HZ.index(rate_hz)

    def _wrapped(self, packet: bytes) -> bytes:
        """Sync word, MPEG-4, no checksum, LC, mono, length with these 7 bytes, buffer fullness unknown, one block."""
        bits = 0xFFF1 << 40 | 1 << 38 | self._rate_index << 34 | 1 << 30 | (len(packet) + 7) << 13 | 0x7FF << 2
        return bits.to_bytes(7) + packet


class Flac(_Codec):
    """Lossless. Blocks of one chunk: half a per cent larger than FFmpeg's choice, and nothing waits."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__("flac", "s16", rate_hz)
        self._codec.options = {"frame_size": str(rate_hz // _FLAC_BLOCKS_HZ)}
        self._codec.open()
        info = bytes(self._codec.extradata or b"")
        self._header = b"fLaC\x80" + len(info).to_bytes(3) + info  # 0x80: the only block before the audio

    def encode(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + super().encode(pcm)

    def finish(self) -> bytes:
        return self._header + super().finish()


class Opus:
    """Opus in packets of 20 ms, every packet a page of its own (Ogg) or a cluster of its own (WebM)."""

    def __init__(self, container: str, rate_hz: int, bit_rate: int) -> None:
        self._sink = _Sink()
        options = {"flush_packets": "1", "fflags": "+bitexact"}  # the same audio is the same file: no drawn serials
        options |= {"page_duration": str(_PAGE_US)} if container == "ogg" else {"live": "1", "cluster_time_limit": "20"}
        self._container = av.open(self._sink, "w", format=container, options=options)
        stream = self._container.add_stream("libopus", rate=rate_hz)
        stream.layout, stream.format, stream.bit_rate = "mono", "s16", bit_rate
        stream.options = {"application": "audio", "frame_duration": "20"}
        stream.time_base = Fraction(1, rate_hz)
        self._stream, self._rate_hz, self._samples = stream, rate_hz, 0

    def encode(self, pcm: bytes) -> bytes:
        if pcm:
            frame = _frame(pcm, self._rate_hz, self._samples)
            self._samples += frame.samples
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


class _Sink:
    """Where a container writes. It has no `seek`, so FFmpeg knows that it cannot go back."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _frame(pcm: bytes, rate_hz: int, first_sample: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, first_sample, Fraction(1, rate_hz)
    return frame
