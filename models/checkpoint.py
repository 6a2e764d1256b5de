"""Progress of one training run, kept so that a killed run goes on where it was.

A budget is steps, the same on every machine, or CPU seconds of this process. Files are written beside their place and
renamed, so a kill in the middle leaves the previous checkpoint whole.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.code_files import refuse_other_encoder


class TrainingState:
    def __init__(
        self,
        path: Path,
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        budget_s: float,
        rng: np.random.Generator,
        steps: int | None = None,
        encoder: str | None = None,
    ) -> None:
        """Done after so many `steps`, or after `budget_s` where none are given. `encoder` names the one whose codes are
        learned from; a checkpoint of another one is not gone on with."""
        self.path, self.network, self.optimiser, self.budget_s, self.rng = path, network, optimiser, budget_s, rng
        self.steps, self.encoder, self.step = steps, encoder, 0
        self._best: dict[str, Any] | None = None  # figure, step and weights
        self._spent_before_s = 0.0
        self._started_s = time.process_time()

    @property
    def spent_s(self) -> float:
        return self._spent_before_s + time.process_time() - self._started_s

    @property
    def progress(self) -> float:
        return min(1.0, self.step / self.steps if self.steps else self.spent_s / self.budget_s)

    @property
    def done(self) -> bool:
        return self.progress >= 1.0

    def advance(self) -> None:
        self.step += 1

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        saved = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": self.rng.bit_generator.state,
            "best": self._best,
        }
        torch.save(saved | ({"encoder_sha256": self.encoder} if self.encoder else {}), partial)
        os.replace(partial, self.path)

    def resume(self) -> bool:
        """Loads the checkpoint when there is one; says whether there was."""
        if not self.path.exists():
            return False
        saved: dict[str, Any] = torch.load(self.path, weights_only=False)
        if self.encoder is not None:
            refuse_other_encoder(self.path, saved.get("encoder_sha256"), self.encoder, "what it would learn from is")
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self._spent_before_s = saved["step"], saved["spent_s"]
        self._started_s = time.process_time()
        torch.set_rng_state(saved["torch_rng"])
        self.rng.bit_generator.state = saved["numpy_rng"]
        self._best = saved.get("best")
        return True

    def compare(self, figure: float) -> None:
        """Remembers the weights of the least `figure` so far."""
        if self._best is None or figure < self._best["figure"]:
            weights = {name: value.clone() for name, value in self.network.state_dict().items()}
            self._best = {"figure": figure, "step": self.step, "weights": weights}

    def settle(self) -> None:
        """The network becomes the best that `compare` has seen; steps and time stay what was spent."""
        if self._best is not None and self._best["step"] != self.step:
            self.network.load_state_dict(self._best["weights"])
            print(f"keeps the weights of step {self._best['step']}: {self._best['figure']:.3f}", flush=True)

    def report(self, figures: dict[str, float]) -> None:
        values = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        print(f"step {self.step}  cpu {self.spent_s:.0f} s  {self.progress:.0%}  {values}", flush=True)
