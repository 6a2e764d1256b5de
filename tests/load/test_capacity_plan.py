"""The capacity plan: the autoscaler's rule as the manifest has it, over loads whose answer is known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from loadtests import capacity_plan
from loadtests.capacity_plan import DOWN_AFTER_S, Ends, Fleet, Outcome, recorded_lengths_s, simulate

DEPLOY = Path(__file__).parents[2] / "deploy"


def outcome(begun: list[int], **fleet: int) -> Outcome:
    """Of streams of ten seconds."""
    return simulate(begun, Ends([10.0], np.random.default_rng(1)), Fleet(capacity=100, **fleet))


def test_a_steady_load_gets_what_it_needs_and_no_more() -> None:
    found = outcome([100] * 3_600)
    assert found.peak_streams == 1_000
    assert found.peak_replicas == 15, "1,000 at 70 of each"
    assert found.rejected < 0.02 * found.offered, "only while the first replicas start"


def test_replicas_that_start_late_reject_more() -> None:
    load = [5] * 600 + [100] * 600
    rejected = [outcome(load, start_s=start_s).rejected for start_s in (5, 60)]
    assert 0 < rejected[0] < rejected[1]


def test_fewer_replicas_only_after_a_while_and_one_by_one() -> None:
    load = [100] * 600
    kept, longer = (outcome(load + [0] * seconds) for seconds in (DOWN_AFTER_S, DOWN_AFTER_S + 600))
    assert 15 * 600 > 3_600 * (longer.replica_hours - kept.replica_hours) > 5 * 600, "ten leave, one a minute"


def test_a_trace_is_what_a_load_test_leaves(tmp_path: Path) -> None:
    rows = [{"end": "done", "samples": 48_000}, {"end": "refused", "samples": 0}, {"end": "done", "samples": 24_000}]
    trace = tmp_path / "load-streams.jsonl.gz"
    with gzip.open(trace, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert recorded_lengths_s(trace) == [2.0, 1.0]
    with gzip.open(trace, "wt") as file:
        file.write(json.dumps(rows[1]) + "\n")
    with pytest.raises(ValueError, match="no stream that was heard"):
        recorded_lengths_s(trace)


def test_the_rule_is_that_of_the_manifest() -> None:
    yaml = pytest.importorskip("yaml", reason="tests/deployment/requirements.txt is not installed")
    spec = yaml.safe_load((DEPLOY / "kubernetes/overlays/keda/scaledobject.yaml").read_text())["spec"]
    assert spec["pollingInterval"] == capacity_plan.POLL_S
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    (up,), (down,) = behavior["scaleUp"]["policies"], behavior["scaleDown"]["policies"]
    assert (up["type"], up["periodSeconds"]) == ("Percent", capacity_plan.UP_EVERY_S)
    assert 1 + up["value"] / 100 == capacity_plan.UP_FACTOR
    assert (down["type"], down["value"], down["periodSeconds"]) == ("Pods", 1, capacity_plan.DOWN_EVERY_S)
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == capacity_plan.DOWN_AFTER_S
    assert f"{Fleet(capacity=1).target:g} * min" in spec["triggers"][0]["metadata"]["query"]
