"""The experiment with several codes a step: what a step may see, and that speaking and training are one network."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from engines.text import NUM_PHONE_IDS
from models.experiments.merged_codes import MergedLm, evaluate, losses, stepped
from models.lm_data import IGNORED, Example, collate
from models.speech_lm import BEGIN_CODE, LmConfig, LmInputs
from models.train_lm import evaluate as evaluate_single

CONFIG = LmConfig(voices=1, num_phone_ids=NUM_PHONE_IDS, width=64, layers=2, heads=2, hidden=96, phone_width=8)


def example(steps: int, seed: int) -> Example:
    rng = np.random.default_rng(seed)
    ends = np.linspace(4, 4 * steps, 5).astype(int)
    phones, pauses = rng.integers(1, 150, 5), np.zeros(5, int)
    return Example(codes=rng.integers(0, 4096, steps), phones=phones, pauses=pauses, ends=ends, speaker=0, stretch=1.0)


def network(codes_per_step: int) -> MergedLm:
    torch.manual_seed(3)
    made = MergedLm(CONFIG, codes_per_step).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0, 0.2)
    return made


def test_one_code_a_step_is_the_plain_model() -> None:
    examples = [example(13, 1), example(9, 2)]
    made = network(1)
    inputs, codes = collate(examples)
    torch.testing.assert_close(made(*stepped(inputs, codes, 1)), made.lm(inputs))
    found, expected = evaluate(made, examples), evaluate_single(made.lm, examples)
    assert all(found[name] == pytest.approx(value, rel=1e-3) for name, value in expected.items())


@pytest.mark.parametrize("codes_per_step", [1, 2, 3])
def test_what_is_spoken_is_what_training_would_pick(codes_per_step: int) -> None:
    made = network(codes_per_step)
    inputs, _ = stepped(*collate([example(12, 4)]), codes_per_step)
    spoken = made.speak(inputs)
    assert len(set(spoken[0].tolist())) > 3
    inputs.code[:] = BEGIN_CODE
    inputs.code[:, codes_per_step:] = spoken[:, :-codes_per_step]
    with torch.no_grad():
        assert torch.equal(made.lm.to_code(made(inputs, spoken)).argmax(-1), spoken)


def test_nothing_later_is_seen() -> None:
    made, count = network(2), 2
    one = example(13, 5)
    inputs, codes = stepped(*collate([one]), count)
    assert codes.shape[1] == 14
    assert codes[0, -1] == IGNORED
    with torch.no_grad():
        before = made(inputs, codes)
        for place in range(1, 14):
            other = LmInputs(**{field.name: getattr(inputs, field.name).clone() for field in fields(LmInputs)})
            changed = codes.clone()
            other.code[0, place:] = 7
            other.left[0, place:] = 3
            changed[0, place:] = 9
            after = made(other, changed)
            reach = place // count * count  # a step sees the text of all its codes
            assert torch.equal(after[:, :reach], before[:, :reach])
            assert not torch.allclose(after[:, place:], before[:, place:])


def test_it_learns() -> None:
    torch.manual_seed(0)
    made, examples = MergedLm(CONFIG, 2), [example(16, 6)]
    optimiser = torch.optim.Adam(made.parameters(), 3e-3)
    before = evaluate(made, examples)
    for _ in range(60):
        optimiser.zero_grad()
        loss: torch.Tensor = losses(made, *collate(examples))[0].mean()
        loss.backward()
        optimiser.step()
    after = evaluate(made, examples)
    assert before["top1"] < 0.1 < 0.8 < after["top1"]
    assert after["nats_at_0"] < 1 > after["nats_at_1"]
