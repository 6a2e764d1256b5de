"""Admission over a simulated GPU: a call costs nearly the same for one row as for all, and the host pays for each row.

A call of the device takes 0.4 ms and 1 us a row. What the host spends on a row was measured over the pretended device
(docs/measurements/gpu/host-time.json).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.config import DraftMode, EngineConfig
from engines.families.common.device_calls import buckets, one_call
from engines.families.phone_pointer.bundle import Bundle
from tests.engine.simulator import Machine, Simulator
from tests.engine.toys import ToyTalker

TEXT = "The ship was due at nine, but the fog had come down over the harbour and nothing moved. "
TEXT_S = 4.6
BASE_S, ROW_S = 0.4e-3, 1e-6
_MEASURED = json.loads((Path(__file__).parents[2] / "docs/measurements/gpu/host-time.json").read_text())["rows"][-1]
# A frame's, of which its step has one half here and its job the other.
HOST_ROW_S = 1e-6 * (_MEASURED["loop_us_a_row"] + _MEASURED["vocoder_thread_us_a_row"]) / 2
USABLE = 0.9  # of the time, as `DeviceProfile` has it


class DeviceToy(ToyTalker):
    """A call covers the slots from 0 to the last one wanted, in the next bucket."""

    slots = 4096

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return one_call([*slots], [*others])

    def computed(self, slots: list[int]) -> int:
        return next(size for size in buckets(self.slots) if size > max(slots))


class Gpu(Simulator):
    talker = DeviceToy


def gpu(bundle: Bundle, slots: int = 4096, host_row_s: float = HOST_ROW_S) -> Gpu:
    """As `engines.assemble` sets an engine up on a device."""
    config = EngineConfig(
        slots=slots,
        workers=False,
        drafts=DraftMode.OFF,
        max_batch=slots,
        verify_rows=slots,
        job_frames=8 * slots,
    )
    cost_s = (BASE_S, ROW_S + host_row_s)
    return Gpu(bundle, Machine(step_s=cost_s, job_s=cost_s, read_s=0.0), config)


@pytest.mark.parametrize("host_row_s", [HOST_ROW_S, 3 * HOST_ROW_S])
def test_as_many_streams_are_admitted_as_the_host_allows(bundle: Bundle, host_row_s: float) -> None:
    """Each frame costs the host a row of a step and one of a job; the base is shared by all rows."""
    allowed = USABLE * bundle.code_s / (2 * (ROW_S + host_row_s))
    assert allowed / 1.25 <= gpu(bundle, host_row_s=host_row_s).capacity <= allowed  # 1.25: an efficient batch


def test_slots_are_the_limit_where_the_host_allows_more(bundle: Bundle) -> None:
    assert gpu(bundle, slots=256).capacity == 256


@pytest.mark.parametrize("together", [1, 8, 64])
def test_first_audio_comes_when_it_was_predicted(bundle: Bundle, together: int) -> None:
    """Of streams that arrive at once: they begin in one call, and the last one's prediction holds for all."""
    simulator, predicted_s = gpu(bundle, slots=256), 0.0
    for number in range(together):
        predicted_s = simulator.stats.predicted_ttfa_s
        simulator.ask(f"s{number}", TEXT)
        simulator.engine.attend()
    while any(one.first_s is None for one in simulator.listeners.values()):
        simulator.step()
    last_s = max(simulator.ttfa_s(name) for name in simulator.listeners)
    print(together, predicted_s, last_s)
    assert predicted_s == pytest.approx(last_s, rel=0.2)
