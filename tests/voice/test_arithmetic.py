"""Training computes in what the machine is quicker with, and says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.arithmetic import BFLOAT16, FLOAT32, Arithmetic, quicker


class Machine:
    """A clock that runs on by what each product costs in the arithmetic it is done in."""

    def __init__(self, float32_s: float, bfloat16_s: float) -> None:
        self.costs = {torch.float32: float32_s, torch.bfloat16: bfloat16_s}
        self.now_s, self.runs = 0.0, 0
        self.layer = nn.Linear(8, 8)

    def clock(self) -> float:
        return self.now_s

    def run(self) -> Tensor:
        found: Tensor = self.layer(torch.rand(2, 8))
        self.now_s += self.costs[found.dtype]
        self.runs += 1
        return found


@pytest.mark.parametrize(("ratio", "chosen"), [(0.6, BFLOAT16), (8.8, FLOAT32), (1.0, FLOAT32)])
@pytest.mark.parametrize("slowness", [1.0, 3.0])
def test_the_quicker_one_is_chosen(
    ratio: float, chosen: Arithmetic, slowness: float, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(0.05 * slowness, 0.05 * slowness * ratio)
    assert quicker("a layer", machine.run, clock=machine.clock) is chosen
    assert f"arithmetic of a layer: {chosen.dtype}; bfloat16 takes {ratio:.2f} times" in capsys.readouterr().err
    turn_s = 0.05 * slowness * (1 + ratio)
    assert machine.now_s <= max(1.0 + turn_s, 3 * turn_s) + 1e-9, "a second, or three rounds"


def test_other_work_on_the_machine_falls_on_both() -> None:
    machine = Machine(0.05, 0.04)
    slow_turn = machine.run

    def run() -> Tensor:
        machine.now_s += 0.5 if machine.runs % 6 == 3 else 0.0  # hits bfloat16 alone, now and then
        return slow_turn()

    assert quicker("a layer", run, clock=machine.clock, seconds=5.0) is BFLOAT16


def test_what_is_beyond_hope_is_run_once() -> None:
    machine = Machine(1.0, 26.0)
    assert quicker("a layer", machine.run, clock=machine.clock) is FLOAT32
    assert machine.now_s == 26.0 + 3.0


def test_the_probe_leaves_the_random_state_alone() -> None:
    machine = Machine(0.3, 0.2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    quicker("a layer", machine.run, clock=machine.clock)
    assert torch.equal(torch.rand(3), expected)


def test_arithmetic_is_what_layers_compute_in() -> None:
    layer = nn.Linear(4, 4)
    with FLOAT32.on():
        assert layer(torch.zeros(1, 4)).dtype is torch.float32
    with BFLOAT16.on():
        assert layer(torch.zeros(1, 4)).dtype is torch.bfloat16
