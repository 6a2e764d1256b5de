"""Trains the durations on encoded speech: python -m models.train_durations --codes FILE --out FILE --cpu-minutes N

Same habits as the codec: budget in CPU time, a checkpoint each minute, `--resume`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from engines.text import NUM_PHONE_IDS
from models.checkpoint import TrainingState
from models.code_files import read_codes, saying_refusals
from models.durations import DurationConfig, DurationNet, TimedPhones, expected_log_hops, loss
from models.lm_data import Example
from models.teacher.timed import timed_examples
from models.training_loop import train

HELD_OUT_SHARE = 0.02
ROWS = 1024
SHORT_PHONES = 12  # an utterance of so many, its pauses too, is short
SHORT_SHARE = 0.4  # of a batch: short answers have few phones, and are heard as often as long ones


class Rows:
    """Draws phones, those of short utterances more often than they occur."""

    def __init__(self, examples: list[Example], rng: np.random.Generator) -> None:
        self._rng = rng
        short = [one for one in examples if len(one.phones) <= SHORT_PHONES]
        long = [one for one in examples if len(one.phones) > SHORT_PHONES]
        of_short = round(ROWS * SHORT_SHARE) if short and long else ROWS if short else 0
        self._parts = [
            (TimedPhones.of(some), count) for some, count in ((short, of_short), (long, ROWS - of_short)) if count
        ]

    @property
    def stretched(self) -> bool:
        return any(bool(part.stretch.any()) for part, _ in self._parts)

    def draw(self) -> TimedPhones:
        drawn = [part.rows(torch.from_numpy(self._rng.integers(len(part), size=count))) for part, count in self._parts]
        return TimedPhones.joined(drawn)


@torch.no_grad()
def evaluate(network: DurationNet, unseen: TimedPhones) -> dict[str, float]:
    """Absolute errors in ms, and how long all phones together last against the teacher's."""
    network.eval()
    hops = torch.exp(expected_log_hops(network, unseen)).round().clamp(min=1)
    network.train()
    error_ms = (hops - unseen.hops).abs() * 10
    return {
        "mean_ms": float(error_ms.mean()),
        "median_ms": float(error_ms.median()),
        "p95_ms": float(error_ms.quantile(0.95)),
        "length_ratio": float(hops.sum() / unseen.hops.sum()),
    }


def learning_rate(step: int, progress: float, peak: float) -> float:
    return peak * min(1.0, step / 100 + 0.01) * (1.0 if progress < 0.4 else max(0.02, (1 - progress) / 0.6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--codes", type=Path, nargs="+", required=True, help="what models.encode wrote, or unspoken did"
    )
    parser.add_argument("--times", type=Path, help="a folder of models.teacher.timed, for more")
    parser.add_argument("--voices", default="rms,slt,awb,kal16", help="of --times, in the order of their numbers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu-minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="the budget in steps instead")
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    examples = [one for path in arguments.codes for one in read_codes(path).examples]  # codes are not looked at
    if arguments.times:
        examples += timed_examples(arguments.times, arguments.voices.split(","))
    order = rng.permutation(len(examples))
    kept = max(1, int(HELD_OUT_SHARE * len(examples)))
    unseen = TimedPhones.of([examples[at] for at in order[:kept]])
    seen = Rows([examples[at] for at in order[kept:]], rng)
    voices = 1 + max(one.speaker for one in examples)
    network = DurationNet(DurationConfig(voices=voices, num_phone_ids=NUM_PHONE_IDS, width=arguments.width))
    if not seen.stretched:  # one tempo teaches nothing about others: what scales every phone alike is left
        torch.nn.init.zeros_(network.stretch.weight)
    optimiser = torch.optim.AdamW(network.parameters(), arguments.peak, weight_decay=0.01, fused=True)
    state = TrainingState(arguments.out, network, optimiser, arguments.cpu_minutes * 60, rng, arguments.steps)
    if arguments.resume:
        state.resume()
    train(
        state,
        lambda step, progress: learning_rate(step, progress, arguments.peak),
        lambda: loss(network, seen.draw()),
        lambda: evaluate(network, unseen),
    )


if __name__ == "__main__":
    saying_refusals(main)
