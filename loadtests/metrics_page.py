"""The server's /metrics page, read as any Prometheus would: enough to see that nothing stays leased."""

from __future__ import annotations

import re
import time
import urllib.request

# Gauges that must be zero on an idle server, ours and those of the usual inference servers.
_LEASED = re.compile(r"(_streams_active|_running|_waiting|_kv_blocks_used|_kv_cache_usage_ratio|_slots_used)$")
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})?\s+(\S+)")
_POLL_S = 0.2


def scrape(url: str) -> dict[str, float]:
    """Sum of each metric over its labels."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    totals: dict[str, float] = {}
    for line in lines:
        sample = _SAMPLE.match(line)
        if sample is not None:
            totals[sample[1]] = totals.get(sample[1], 0.0) + float(sample[3])
    return totals


def leased(totals: dict[str, float]) -> dict[str, float]:
    """Streams, slots and blocks that are leased."""
    return {name: value for name, value in totals.items() if _LEASED.search(name)}


def await_idle(url: str, within_s: float) -> dict[str, float]:
    """What is leased once all is zero, or after `within_s` seconds."""
    until_s = time.monotonic() + within_s
    while True:
        held = leased(scrape(url))
        if not any(held.values()) or time.monotonic() > until_s:
            return held
        time.sleep(_POLL_S)
