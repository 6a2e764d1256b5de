"""Formats by name: OpenAI's `response_format` and extensions, ElevenLabs' `output_format`, and their encoders."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from server.audio.compressed import Aac, Flac, Mp3, Opus
from server.audio.resampling import DEFAULT_RATE_HZ, OFFERED_HZ
from server.audio.uncompressed import ALaw, MuLaw, Pcm16, PcmFloat, Wav, wav_header


class Encoder(Protocol):
    """One stream's way out. What `encode` and `finish` return, joined, is the file."""

    def encode(self, pcm: bytes) -> bytes:
        """The next s16le samples, at least none. May hold some back."""
        ...

    def finish(self) -> bytes:
        """All that was held back. Call once, last."""
        ...


class Codec(StrEnum):
    PCM = "pcm"
    PCM_F32 = "pcm_f32"
    MU_LAW = "ulaw"
    A_LAW = "alaw"
    WAV = "wav"
    MP3 = "mp3"
    OPUS = "opus"
    WEBM = "webm"
    FLAC = "flac"
    AAC = "aac"


MEDIA_TYPES = {
    Codec.PCM: "audio/pcm",
    Codec.PCM_F32: "audio/pcm",
    Codec.MU_LAW: "audio/PCMU",
    Codec.A_LAW: "audio/PCMA",
    Codec.WAV: "audio/wav",
    Codec.MP3: "audio/mpeg",
    Codec.OPUS: "audio/ogg",
    Codec.WEBM: "audio/webm",
    Codec.FLAC: "audio/flac",
    Codec.AAC: "audio/aac",
}
_OPUS_RATES_HZ = (8_000, 16_000, 24_000, 48_000)
_BARE = (Codec.PCM, Codec.PCM_F32, Codec.MU_LAW, Codec.A_LAW)
_CHEAP = (*_BARE, Codec.WAV)
_TELEPHONE_HZ = 8_000
_OPUS_BIT_RATE = 32_000
_WAV_CODINGS = {Codec.PCM: (1, 2), Codec.PCM_F32: (3, 4), Codec.A_LAW: (6, 1), Codec.MU_LAW: (7, 1)}  # tag, bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    codec: Codec
    rate_hz: int
    bit_rate: int | None = None  # None: the codec's default at this rate
    in_wav: bool = False  # behind a WAV header of the codec, which has to be plain

    @property
    def name(self) -> str:
        """Two formats of one name give the same bytes for the same samples at the same rate."""
        wrapped = "wav_" if self.in_wav else ""
        return wrapped + (self.codec.value if self.bit_rate is None else f"{self.codec.value}_{self.bit_rate // 1000}")

    @property
    def media_type(self) -> str:
        """Samples without a header name their rate, which nothing else would."""
        if self.in_wav or self.codec not in _BARE:
            return MEDIA_TYPES[Codec.WAV if self.in_wav else self.codec]
        coding = ";encoding=f32le" if self.codec is Codec.PCM_F32 else ""
        return f"{MEDIA_TYPES[self.codec]};rate={self.rate_hz};channels=1{coding}"

    @property
    def is_cheap(self) -> bool:
        """Needs no worker thread."""
        return self.codec in _CHEAP

    def encoder(self) -> Encoder:
        if not self.in_wav:
            return self._bare_encoder()
        tag, sample_bytes = _WAV_CODINGS[self.codec]
        return _InWav(self._bare_encoder(), wav_header(self.rate_hz, tag=tag, sample_bytes=sample_bytes))

    def _bare_encoder(self) -> Encoder:
        rate_hz, bit_rate = self.rate_hz, self.bit_rate
        match self.codec:
            case Codec.PCM:
                return Pcm16()
            case Codec.PCM_F32:
                return PcmFloat()
            case Codec.MU_LAW:
                return MuLaw()
            case Codec.A_LAW:
                return ALaw()
            case Codec.WAV:
                return Wav(rate_hz)
            case Codec.MP3:
                return Mp3(rate_hz, bit_rate or _lossy_bit_rate(rate_hz))
            case Codec.AAC:
                return Aac(rate_hz, bit_rate or _lossy_bit_rate(rate_hz))
            case Codec.FLAC:
                return Flac(rate_hz)
            case Codec.OPUS:
                return Opus("ogg", rate_hz, bit_rate or _OPUS_BIT_RATE)
            case Codec.WEBM:
                return Opus("webm", rate_hz, bit_rate or _OPUS_BIT_RATE)


class _InWav:
    """Another encoder's samples behind a header."""

    def __init__(self, encoder: Encoder, header: bytes) -> None:
        self._encoder, self._header = encoder, header

    def encode(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + self._encoder.encode(pcm)

    def finish(self) -> bytes:
        return self._header + self._encoder.finish()


def codec_rates_hz(codec: Codec) -> tuple[int, ...]:
    """The rates that a format can be asked for. Opus has rates of its own, and is always decoded at 48 kHz."""
    return _OPUS_RATES_HZ if codec in (Codec.OPUS, Codec.WEBM) else OFFERED_HZ


def default_rate_hz(codec: Codec) -> int:
    """G.711 is the telephone's."""
    return _TELEPHONE_HZ if codec in (Codec.MU_LAW, Codec.A_LAW) else DEFAULT_RATE_HZ


def _lossy_bit_rate(rate_hz: int) -> int:
    return 32_000 if rate_hz <= 12_000 else 64_000 if rate_hz <= 24_000 else 96_000


def _eleven_formats() -> dict[str, AudioFormat]:
    """`codec_rate` or `codec_rate_kilobits`, exactly the names in ElevenLabs' list."""
    names = ["mp3_22050_32", "mp3_24000_48", "ulaw_8000", "alaw_8000"]
    names += [f"mp3_44100_{kilobits}" for kilobits in (32, 64, 96, 128, 192)]
    names += [f"opus_48000_{kilobits}" for kilobits in (32, 64, 96, 128, 192)]
    names += [f"{plain}_{rate_hz}" for plain in ("pcm", "wav") for rate_hz in OFFERED_HZ]
    formats = {}
    for name in names:
        codec, rate_hz, *kilobits = name.split("_")
        bit_rate = int(kilobits[0]) * 1000 if kilobits else None
        formats[name] = AudioFormat(codec=Codec(codec), rate_hz=int(rate_hz), bit_rate=bit_rate)
    return formats


ELEVEN_FORMATS = _eleven_formats()
ELEVEN_DEFAULT = "mp3_44100_128"
