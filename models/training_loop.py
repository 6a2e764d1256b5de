"""The loop that most training shares: step until the budget is spent, report and checkpoint every minute."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import TrainingState

FIRST_REPORT_S, REPORT_S = 20, 60


def train(
    state: TrainingState,
    rate: Callable[[int, float], float],
    loss: Callable[[], Tensor],
    evaluate: Callable[[], dict[str, float]],
    least: str | None = None,
) -> None:
    """`rate` is of the step and of the share of the budget that is spent; `loss` draws a batch.

    With `least`, a figure of `evaluate`, training ends with the weights that had the least of it: little speech is soon
    learned by heart.
    """

    def evaluated() -> dict[str, float]:
        figures = evaluate()
        if least is not None:
            state.compare(figures[least])
        return figures

    recent: list[float] = []
    next_report = time.monotonic() + FIRST_REPORT_S
    while not state.done:
        for group in state.optimiser.param_groups:
            group["lr"] = rate(state.step, state.progress)
        found = loss()
        state.optimiser.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimiser.step()
        state.advance()
        recent.append(float(found.detach()))
        if time.monotonic() > next_report:
            next_report = time.monotonic() + REPORT_S
            state.report({"loss": float(np.mean(recent))} | evaluated())
            recent.clear()
            state.save()
    state.report(evaluated())
    state.settle()
    state.save()
