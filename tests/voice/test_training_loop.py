"""Training ends with what unseen examples fit best, and a killed run remembers it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import training_loop
from models.checkpoint import TrainingState

UNSEEN = [3.0, 1.0, 2.0, 4.0, 5.0]


def state(path: Path, steps: int) -> tuple[TrainingState, nn.Linear]:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimiser = torch.optim.SGD(network.parameters(), 1.0)
    return TrainingState(path, network, optimiser, 1.0, np.random.default_rng(0), steps), network


def run(found: TrainingState, network: nn.Linear, unseen: Iterator[float], least: str | None = "nats") -> None:
    def loss() -> Tensor:
        return -network.weight.sum()  # a step adds one

    training_loop.train(found, lambda step, progress: 1.0, loss, lambda: {"nats": next(unseen)}, least)


def weight(path: Path) -> float:
    return float(torch.load(path, weights_only=False)["network"]["weight"])


@pytest.fixture(autouse=True)
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_loop, "FIRST_REPORT_S", -1)
    monkeypatch.setattr(training_loop, "REPORT_S", -1)


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "lm.pt"
    run(*state(path, 4), iter(UNSEEN))
    assert weight(path) == pytest.approx(2), "after the second step unseen examples fitted best"
    assert torch.load(path, weights_only=False)["step"] == 4, "what was spent"
    run(*state(tmp_path / "last.pt", 4), iter(UNSEEN), least=None)
    assert weight(tmp_path / "last.pt") == pytest.approx(4)


def test_a_killed_run_remembers_them(tmp_path: Path) -> None:
    path = tmp_path / "lm.pt"

    def killed() -> Iterator[float]:
        yield from UNSEEN[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(*state(path, 4), killed())
    again, network = state(path, 4)
    assert again.resume()
    assert (again.step, float(network.weight.detach())) == (3, pytest.approx(3)), "it goes on where it was"
    run(again, network, iter(UNSEEN[3:]))
    assert weight(path) == pytest.approx(2)
