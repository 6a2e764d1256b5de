"""What has happened since the engine started, for metrics. Written by the loop's thread only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    lm_steps: int = 0
    lm_rows: int = 0  # wanted by a sequence
    lm_idle_rows: int = 0  # computed because they lay between wanted ones
    tokens: int = 0  # codes made
    lm_busy_s: float = 0.0
    vocoder_busy_s: float = 0.0
    vocoder_rows: int = 0
    drafts_proposed: int = 0
    drafts_accepted: int = 0
    draft_faults: int = 0  # drafter or check failed; the step was made without
    late_chunks: int = 0  # emitted after their listener had run dry
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    guards: Counter[str] = field(default_factory=Counter)

    def named(self) -> dict[str, int]:
        """Counts by metric name."""
        names = (
            "tokens",
            "lm_rows",
            "lm_idle_rows",
            "vocoder_rows",
            "drafts_proposed",
            "drafts_accepted",
            "draft_faults",
            "late_chunks",
            "finished",
            "cancelled",
            "failed",
        )
        return {name: getattr(self, name) for name in names} | {
            f"guard_{name}": count for name, count in self.guards.items()
        }
