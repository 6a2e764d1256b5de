"""Magnitudes of short spectra and their gradient, against PyTorch's own of the complex transform."""

from __future__ import annotations

import math

import pytest
import torch

from models.mel import LogMel, LowHarmonics, SpectralLoss, magnitude


@pytest.mark.parametrize(("size", "hop"), [(256, 64), (512, 128), (1024, 160), (1024, 256)])
def test_magnitudes_and_their_gradient_are_those_of_the_complex_transform(size: int, hop: int) -> None:
    torch.manual_seed(size)
    samples, window = torch.randn(2, 5120) * 0.1, torch.hann_window(size)
    ours, theirs = samples.clone().requires_grad_(), samples.clone().requires_grad_()
    found = magnitude(ours, window, hop)
    spectrum = torch.stft(theirs, size, hop, window=window, return_complex=True)
    expected = (torch.view_as_real(spectrum).square().sum(-1) + 1e-12).sqrt()
    torch.testing.assert_close(found, expected)  # on some processors to the bit
    weights = torch.rand_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=2e-6 * float(theirs.grad.abs().max()))


def test_silence_has_no_gradient_that_is_not_a_number() -> None:
    samples = torch.zeros(1, 4096, requires_grad=True)
    (SpectralLoss()(samples, torch.full((1, 4096), 0.1)) + LogMel()(samples).mean()).backward()
    assert samples.grad is not None
    assert torch.isfinite(samples.grad).all()


def test_low_harmonics_are_those_that_are_loud_and_below_1_khz() -> None:
    time = torch.arange(8_000) / 16_000
    low, high = torch.sin(2 * torch.pi * 500 * time)[None], 0.5 * torch.sin(2 * torch.pi * 3_000 * time)[None]
    distance = LowHarmonics()
    assert float(distance(low + high, low)) < 0.01
    assert float(distance(2 * low + high, low + high)) == pytest.approx(math.log(2), abs=0.02)
    assert float(distance(low + 0.003 * torch.sin(2 * torch.pi * 700 * time), low)) < 0.05, (
        "what is faint counts little"
    )
