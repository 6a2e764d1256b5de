"""Trains the forecast on what the speech model itself says: python -m models.train_forecast --lm FILE --samples FILE...

The LM stays as it is; of it only the input's embedding is used. Reported is how often the forecast's favourite is what
was sampled, on utterances it did not learn from: the share of drafts that will stand, one by one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.arithmetic import quicker
from models.checkpoint import TrainingState
from models.code_files import read_codes, refuse_other_encoder, saying_refusals
from models.finish import load_lm
from models.forecast import Forecast, ForecastConfig, losses
from models.lm_data import IGNORED, Example, collate
from models.speech_lm import LmInputs, SpeechLm
from models.train_lm import Batches
from models.training_loop import train


def known(lm: SpeechLm, inputs: LmInputs, codes: Tensor) -> tuple[Tensor, Tensor]:
    """-> x [N, D] and codes [N] of all steps"""
    seen = codes != IGNORED
    return lm.entered(inputs)[seen], codes[seen]


@torch.no_grad()
def evaluate(lm: SpeechLm, forecast: Forecast, examples: list[Example]) -> dict[str, float]:
    nats, right, near, count = 0.0, 0.0, 0.0, 0
    for start in range(0, len(examples), 8):
        x, codes = known(lm, *collate(examples[start : start + 8]))
        loss, best = losses(forecast, x, codes)
        levels = torch.tensor([1, 8, 64, 512])
        distance = (best[:, None] // levels % 8 - codes[:, None] // levels % 8).abs().amax(-1)
        nats += float(loss) * len(codes)
        right += float((distance == 0).sum())
        near += float((distance <= 1).sum())
        count += len(codes)
    return {"nats": nats / count, "right": right / count, "near": near / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="what models.own_samples wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start-from", type=Path, help="a trained forecast")
    parser.add_argument("--cpu-minutes", type=float, default=4)
    parser.add_argument("--steps", type=int, help="the budget in steps instead")
    parser.add_argument("--tokens", type=int, default=3000)
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    lm, saved = load_lm(arguments.lm)
    lm.requires_grad_(False)
    samples = read_codes(arguments.samples)
    encoder = samples.encoder_sha256
    refuse_other_encoder(arguments.lm, saved.get("encoder_sha256"), encoder, arguments.samples)
    forecast = Forecast(ForecastConfig(width=lm.config.width))
    if arguments.start_from:
        before = torch.load(arguments.start_from, weights_only=False)
        refuse_other_encoder(arguments.start_from, before.get("encoder_sha256"), encoder, arguments.samples)
        forecast.load_state_dict(before["network"])
    batches = Batches(samples.examples, arguments.tokens, rng)
    probe = known(lm, *collate(batches.held_out[:4]))
    arithmetic = quicker("the forecast", lambda: losses(forecast, *probe)[0])
    optimiser = torch.optim.AdamW(
        forecast.parameters(), arguments.peak, betas=(0.9, 0.95), weight_decay=0.02, fused=True
    )
    state = TrainingState(arguments.out, forecast, optimiser, arguments.cpu_minutes * 60, rng, arguments.steps, encoder)
    if arguments.resume:
        state.resume()

    def loss() -> Tensor:
        x, codes = known(lm, *batches.draw())
        with arithmetic.on():
            return losses(forecast, x, codes)[0]

    train(
        state,
        lambda step, progress: arguments.peak * min(1.0, step / 60 + 0.02) * max(0.03, 1 - progress),
        loss,
        lambda: evaluate(lm, forecast, batches.held_out),
    )


if __name__ == "__main__":
    saying_refusals(main)
