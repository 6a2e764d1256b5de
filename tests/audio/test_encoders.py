"""Every format: streamed equals whole, nothing is lost at either end, nothing clicks, first bytes come early."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from server.audio.formats import ELEVEN_FORMATS, AudioFormat, Codec, codec_rates_hz
from server.audio.uncompressed import a_law_table, mu_law_table
from tests.audio.signals import clicks, cut, decoded, delay, glide

ALL = [AudioFormat(codec=codec, rate_hz=rate_hz) for codec in Codec for rate_hz in codec_rates_hz(codec)]
DELAYS = {Codec.MP3: 1_105, Codec.AAC: 1_024}
FIRST_BYTES_CHUNK = {Codec.MP3: 2, Codec.AAC: 3}  # at 24 kHz in chunks of 40 ms; the first chunk for all others


def name(form: AudioFormat) -> str:
    return f"{form.codec}-{form.rate_hz}-{form.bit_rate}"


def encoded(form: AudioFormat, pcm: bytes, chunk_samples: int) -> list[bytes]:
    encoder = form.encoder()
    return [*(encoder.encode(part) for part in cut(pcm, chunk_samples)), encoder.finish()]


@pytest.mark.parametrize("form", ALL, ids=name)
def test_streamed_equals_whole(form: AudioFormat) -> None:
    pcm = glide(form.rate_hz, 0.7)[:-37].tobytes()
    whole = b"".join(encoded(form, pcm, len(pcm)))
    for chunk_samples in (form.rate_hz // 25, form.rate_hz * 8 // 25, 331):
        streamed = b"".join(encoded(form, pcm, chunk_samples))
        assert streamed == whole


@pytest.mark.parametrize("form", [*ALL, *ELEVEN_FORMATS.values()], ids=name)
def test_decodes_to_what_went_in_without_clicks(form: AudioFormat) -> None:
    if form.codec in (Codec.PCM, Codec.PCM_F32, Codec.MU_LAW, Codec.A_LAW):
        pytest.skip("has no container; compared below")
    native = glide(form.rate_hz, 1.0)[:-37]
    chunk = form.rate_hz // 25
    heard, rate_hz = decoded(b"".join(encoded(form, native.tobytes(), chunk)))
    if form.codec in (Codec.WAV, Codec.FLAC):
        assert np.array_equal(heard, native)
        return
    wanted = glide(rate_hz, 1.0) if rate_hz != form.rate_hz else native
    late = delay(heard, wanted.astype(np.float64))
    assert late == pytest.approx(DELAYS.get(form.codec, 0), abs=1)
    heard = heard[late:]
    assert len(heard) >= len(native) * rate_hz // form.rate_hz
    count = min(len(heard), len(wanted))
    assert np.corrcoef(heard[:count], wanted[:count])[0, 1] > 0.98
    step = chunk * rate_hz // form.rate_hz
    assert clicks(heard, wanted.astype(np.float64), list(range(step, count, step)), rate_hz) == []


def test_the_click_detector_hears_clicks() -> None:
    """Ten samples lost at a border; a new encoder for every chunk."""
    native = glide(24_000).astype(np.float64)
    heard = native.copy()
    heard[9_595:9_605] = 0.0
    assert clicks(heard, native, [9_600], 24_000) == [9_600]
    form = AudioFormat(codec=Codec.OPUS, rate_hz=24_000)
    pieces = [b"".join(encoded(form, part, 960)) for part in cut(glide(24_000).tobytes(), 9_600)]
    joined = np.concatenate([decoded(piece)[0] for piece in pieces])
    wanted = glide(48_000).astype(np.float64)
    assert clicks(joined, wanted, [19_200, 38_400], 48_000)


@pytest.mark.parametrize("codec", list(Codec))
def test_first_bytes(codec: Codec) -> None:
    parts = encoded(AudioFormat(codec=codec, rate_hz=24_000), glide(24_000).tobytes(), 960)
    first = next(place for place, part in enumerate(parts, 1) if part)
    assert first == FIRST_BYTES_CHUNK.get(codec, 1)


@pytest.mark.parametrize("form", ALL, ids=name)
def test_silence_of_no_length(form: AudioFormat) -> None:
    encoder = form.encoder()
    assert isinstance(encoder.encode(b"") + encoder.finish(), bytes)


@pytest.mark.parametrize(("codec", "table"), [("pcm_mulaw", mu_law_table), ("pcm_alaw", a_law_table)])
def test_g711_decodes_within_half_a_step(codec: str, table: Callable[[], NDArray[np.uint8]]) -> None:
    """FFmpeg decodes. Steps grow with the sample: sixteen to an octave, above a linear stretch around zero."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"  # type: ignore[attr-defined]
    (frame,) = decoder.decode(av.Packet(bytes(range(256))))  # type: ignore[attr-defined]
    values = frame.to_ndarray()[0].astype(np.int64)
    samples = np.arange(65_536, dtype="<u2").view("<i2").astype(np.int64)
    error = np.abs(values[table()] - samples)
    assert (error <= (np.abs(samples) + 132) / 32 + 8).all()
    assert len(np.unique(table())) == 256


def test_float_pcm() -> None:
    native = glide(16_000)
    floats = np.frombuffer(b"".join(encoded(AudioFormat(codec=Codec.PCM_F32, rate_hz=16_000), native.tobytes(), 640)))
    floats = np.frombuffer(floats.tobytes(), "<f4")
    assert np.array_equal(floats * 32768, native)
