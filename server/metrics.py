"""What Prometheus reads at /metrics. Buckets are chosen by hand around what a listener notices."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from engines.messages import EngineStats

_TTFA_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_E2E_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)
_RTF_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("parlando_requests_total", "Utterances by end", ["protocol", "end"], registry=registry)
        self.audio_s = Counter("parlando_audio_seconds_total", "Seconds of audio sent", registry=registry)
        self.streams = Gauge("parlando_streams_active", "Utterances in progress", registry=registry)
        self.ttfa_s = Histogram(
            "parlando_ttfa_seconds",
            "First text bytes received to first audio bytes handed to the socket",
            ["protocol"],
            buckets=_TTFA_BUCKETS_S,
            registry=registry,
        )
        self.e2e_s = Histogram(
            "parlando_e2e_seconds", "First text to last audio", ["protocol"], buckets=_E2E_BUCKETS_S, registry=registry
        )
        self.rtf = Histogram(
            "parlando_rtf", "Wall seconds to make a second of audio", buckets=_RTF_BUCKETS, registry=registry
        )
        self.underruns = Counter("parlando_underruns_total", "Times a stream's lead fell below zero", registry=registry)
        self._engine = {
            name: Gauge(f"parlando_engine_{name}", help_text, registry=registry)
            for name, help_text in (
                ("running", "Sequences holding a slot"),
                ("waiting", "Sequences waiting for a slot"),
                ("slots", "Slots in all"),
                ("kv_blocks_used", "Leased cache blocks"),
                ("kv_blocks_total", "Cache blocks in all"),
                ("lm_steps", "Speech model steps since the engine started"),
                ("lm_busy_s", "Seconds spent in the speech model"),
                ("vocoder_busy_s", "Seconds spent in the vocoder"),
            )
        }

    def take_engine(self, stats: EngineStats) -> None:
        for name, gauge in self._engine.items():
            gauge.set(getattr(stats, name))

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
