"""Trains the speech LM on encoded speech: python -m models.train_lm --codes FILE --out FILE --cpu-minutes N

Same habits as the codec: budget in CPU time, a checkpoint each minute, `--resume`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.text import NUM_PHONE_IDS
from models.arithmetic import FLOAT32, Arithmetic, quicker
from models.checkpoint import TrainingState
from models.code_files import read_codes, refuse_other_encoder, saying_refusals
from models.code_parts import share
from models.finish import load_lm
from models.lm_data import IGNORED, Example, collate
from models.speech_lm import LmConfig, LmInputs, SpeechLm
from models.training_loop import train

HELD_OUT = 40


class Batches:
    """Utterances of similar length together, about `tokens` steps a batch."""

    def __init__(
        self, examples: list[Example], tokens: int, rng: np.random.Generator, more: Sequence[Example] = ()
    ) -> None:
        """Held out are some of `examples`, drawn by what each is: among more of them, none is held out that training
        has seen. `more` is only trained on."""
        self.rng, self.tokens = rng, tokens
        drawn = sorted(examples, key=_draw)
        kept = min(HELD_OUT, len(examples) // 4)
        self.held_out = drawn[:kept]
        self.train = sorted([*drawn[kept:], *more], key=lambda one: len(one.codes))
        self._ends = np.cumsum([len(one.codes) for one in self.train])

    def draw(self) -> tuple[LmInputs, Tensor]:
        # A place drawn by token, not by utterance, so that long ones are seen as often as their share of speech.
        end = int(np.searchsorted(self._ends, self.rng.integers(self._ends[-1]), side="right")) + 1
        rows = max(1, self.tokens // len(self.train[end - 1].codes))
        return collate(self.train[max(0, end - rows) : end], self.rng)


def _draw(one: Example) -> bytes:
    """A number drawn by the phones and their times."""
    return hashlib.sha256(f"{one.speaker} {one.phones.tolist()} {one.ends.tolist()}".encode()).digest()


def losses(
    network: SpeechLm, inputs: LmInputs, codes: Tensor, arithmetic: Arithmetic = FLOAT32
) -> tuple[Tensor, Tensor]:
    """-> mean cross-entropy, logits [known positions, V]"""
    with arithmetic.on():
        hidden = network(inputs)
        known = codes != IGNORED
        logits = network.to_code(hidden[known])
    return F.cross_entropy(logits.float(), codes[known]), logits


@torch.no_grad()
def evaluate(network: SpeechLm, examples: list[Example]) -> dict[str, float]:
    network.eval()
    sums, count = np.zeros(3), 0
    for start in range(0, len(examples), 8):
        inputs, codes = collate(examples[start : start + 8])
        loss, logits = losses(network, inputs, codes)
        truth = codes[codes != IGNORED]
        best = logits.argmax(-1)
        levels = torch.tensor([1, 8, 64, 512])
        distance = (best[:, None] // levels % 8 - truth[:, None] // levels % 8).abs().amax(-1)
        figures = [loss, (best == truth).float().mean(), (distance <= 1).float().mean()]
        sums += len(truth) * np.array([float(figure) for figure in figures])
        count += len(truth)
    network.train()
    return dict(zip(("code_nats", "top1", "within_one_level"), sums / count))


def start_from(network: SpeechLm, path: Path) -> None:
    """Takes over a model of fewer voices; a new voice starts as the mean of the old ones."""
    saved = load_lm(path)[0].state_dict()
    old = saved["speaker.weight"]
    more = network.speaker.num_embeddings - len(old)
    saved["speaker.weight"] = torch.cat([old, old.mean(0, keepdim=True).expand(more, -1)])
    network.load_state_dict(saved)


def learning_rate(step: int, progress: float, peak: float) -> float:
    return peak * min(1.0, step / 60 + 0.02) * (1.0 if progress < 0.4 else max(0.03, (1 - progress) / 0.6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=Path, required=True)
    parser.add_argument("--more", type=Path, help="codes of text that was not spoken, only trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu-minutes", type=float, default=280)
    parser.add_argument("--steps", type=int, help="the budget in steps instead")
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--start-from", type=Path, help="a trained model, whose first voices are ours too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    coded, more = read_codes(arguments.codes), read_codes(arguments.more) if arguments.more else None
    if more is not None:
        refuse_other_encoder(arguments.more, more.encoder_sha256, coded.encoder_sha256, arguments.codes)
    batches = Batches(coded.examples, arguments.tokens, rng, more.examples if more is not None else ())
    speakers = {one.speaker for one in (*batches.held_out, *batches.train)}
    config = LmConfig(voices=1 + max(speakers), num_phone_ids=NUM_PHONE_IDS)
    network = SpeechLm(config)
    if arguments.start_from:
        start_from(network, arguments.start_from)
    share(network, **({"spread": 0.0} if arguments.start_from else {}))
    inputs, _ = collate(batches.held_out[:4])
    arithmetic = quicker("the speech model", lambda: network.to_code(network(inputs)))
    optimiser = torch.optim.AdamW(
        network.parameters(), arguments.peak, betas=(0.9, 0.95), weight_decay=0.02, fused=True
    )
    state = TrainingState(
        arguments.out, network, optimiser, arguments.cpu_minutes * 60, rng, arguments.steps, coded.encoder_sha256
    )
    if arguments.resume:
        state.resume()
    train(
        state,
        lambda step, progress: learning_rate(step, progress, arguments.peak),
        lambda: losses(network, *batches.draw(), arithmetic)[0],
        lambda: evaluate(network, batches.held_out),
        least="code_nats",
    )


if __name__ == "__main__":
    saying_refusals(main)
