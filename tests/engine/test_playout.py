"""The playout clock: what a listener has already gives no lead."""

from __future__ import annotations

from engines.playout import Playout

RATE_HZ = 1_000


def test_samples_that_were_heard_before_give_no_lead() -> None:
    resumed, fresh = Playout(RATE_HZ, heard_samples=2_500), Playout(RATE_HZ)
    for now in (10.0, 11.0):
        resumed.sent(1_000, now)
        assert not resumed.has_begun
    assert resumed.sent(1_000, 12.0) == fresh.sent(500, 12.0) == 12.0
    assert resumed.lead_s(12.0) == fresh.lead_s(12.0) == 0.5
    assert (resumed.underruns, resumed.sent_s) == (0, 3.0)
    resumed.sent(1_000, 12.25)
    assert resumed.lead_s(12.25) == 1.25
