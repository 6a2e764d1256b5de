"""Codes that share what they learn: what is settled says what was trained."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.code_parts import PartsAdded, is_shared, settle, share
from models.codec import LEVELS, NUM_CODES
from models.finish import load_lm
from models.speech_lm import BEGIN_CODE, WINDOW, LmConfig, LmInputs, SpeechLm
from models.train_lm import losses, start_from

STEPS = 6


def inputs(code: Tensor) -> LmInputs:
    rest = {name: torch.zeros_like(code) for name in "since left following to_pause pause_type speaker".split()}
    return LmInputs(code=code, phones=torch.ones(*code.shape, len(WINDOW), dtype=torch.long), **rest)


@pytest.fixture
def network() -> SpeechLm:
    torch.manual_seed(3)
    return SpeechLm(LmConfig(voices=2, num_phone_ids=40)).eval()


def logits(network: SpeechLm) -> Tensor:
    given = inputs(torch.tensor([[BEGIN_CODE, 0, 7, 4095, 512, 63]]))
    with torch.no_grad():
        return network.logits(given, network(given))


def save(network: SpeechLm, path: Path) -> None:
    torch.save({"network": network.state_dict(), "step": 1, "spent_s": 1.0}, path)


def test_what_is_settled_says_the_same(network: SpeechLm, tmp_path: Path) -> None:
    plain = logits(network)
    names = set(network.state_dict())
    share(network)
    assert is_shared(network.state_dict())
    assert not torch.allclose(logits(network), plain)
    save(network, tmp_path / "lm.pt")
    loaded, _ = load_lm(tmp_path / "lm.pt")
    assert torch.allclose(logits(loaded), logits(network), atol=1e-5)
    settle(network)
    assert set(loaded.state_dict()) == set(network.state_dict()) == names, "serving sees no parts"


def test_a_code_learns_from_its_neighbours(network: SpeechLm) -> None:
    share(network)
    before = network.to_code.weight.detach().clone()
    target = torch.tensor([[1234] * STEPS])
    loss, _ = losses(network, inputs(torch.full((1, STEPS), 9)), target)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    moved = (network.to_code.weight - before).norm(dim=1)
    beside, far = 1234 + 512, (1234 + 2048 + 4 * 64 + 32 + 4) % NUM_CODES
    assert moved[1234] > moved[beside] > 1.5 * moved[far], "three digits of four in common, or none"


def test_a_trained_model_goes_on_as_it_was(network: SpeechLm, tmp_path: Path) -> None:
    share(network)
    save(network, tmp_path / "lm.pt")
    again = SpeechLm(network.config).eval()
    start_from(again, tmp_path / "lm.pt")
    share(again, spread=0.0)
    assert torch.allclose(logits(again), logits(network), atol=1e-5)


def test_a_row_is_its_own_and_its_parts() -> None:
    """Parts lie in this order: each digit's rows, then each pair's, the first digit counting fastest."""
    torch.manual_seed(5)
    added, own = PartsAdded(3, 1.0), torch.randn(NUM_CODES + 1, 3)
    expected, first = own.clone(), 0
    codes = torch.arange(NUM_CODES)
    digits = [codes // 8**place % 8 for place in range(len(LEVELS))]
    for row in [*digits, *(low + 8 * high for low, high in combinations(digits, 2))]:
        expected[:NUM_CODES] += added.parts[first + row]
        first += int(row.max()) + 1
    assert first == len(added.parts)
    torch.testing.assert_close(added(own), expected)
