"""How audio leaves: rates, resampling, time stretch, encoders and containers.

Everything here works on s16le mono PCM and knows neither sockets nor the engine's streams. Every piece that streams is
chunk-invariant: its output joined is the same however its input was cut.
"""

from server.audio.resampling import DEFAULT_RATE_HZ, OFFERED_HZ, RESAMPLED_HZ, Resampler, spoken_rate_hz
from server.audio.uncompressed import wav_header

__all__ = ["DEFAULT_RATE_HZ", "OFFERED_HZ", "RESAMPLED_HZ", "Resampler", "spoken_rate_hz", "wav_header"]
