"""Creak in the vocoder's graph: the rule of `models.creak`, frame by frame, folded or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models.codec import MAX_F0_HZ, MAX_MOVED_F0_HZ, MIN_F0_HZ, MIN_MOVED_F0_HZ, Decoder
from models.creak import LOW_BINS, SILENT, with_creak
from models.export import round_to_half
from models.export_vocoder import export_vocoder
from models.fold_vocoder import folded
from models.framing import BINS
from tests.voice.test_fold_vocoder import drawn, stock

CREAK_HZ = [125.0, 0.0]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    """Voiced and unvoiced by turns, with F0 on both sides of where the first voice creaks."""
    torch.manual_seed(4)
    found = Decoder(2).eval()
    with torch.no_grad():
        found.source.weight.normal_(0, 0.1)
        found.source.bias[0] = np.log(100.0)
        found.filters.weight.normal_(0, 0.1)
    round_to_half(found)
    return found


@pytest.fixture(scope="module")
def written(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path: Path = tmp_path_factory.mktemp("written") / "vocoder.onnx"
    export_vocoder(decoder, path)
    return onnx.load(path)


def given(decoder: Decoder, voices: list[float], pitch: float) -> dict[str, np.ndarray]:
    feeds = drawn(decoder, 1, 6)
    return feeds | {"voices": np.array([voices], np.float32), "pitch": np.array([pitch], np.float32)}


@torch.no_grad()
def by_hand(decoder: Decoder, feeds: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The spectrum [1, F, 2, BINS], where frames are voiced [1, F], and where F0 is halved."""
    seen = {name: torch.from_numpy(value) for name, value in feeds.items()}
    h = decoder.enter(decoder.quantiser.values(seen["codes"])) + decoder.mixed(seen["voices"])[:, None]
    for block in decoder.coarse:
        h = block.whole(h)
    h = decoder.up(h).reshape(1, -1, decoder.source.in_features)
    for block in decoder.fine:
        h = block.whole(h)
    log_f0, logit = decoder.source(h).unbind(-1)
    chosen, voiced = torch.exp(log_f0).clamp(MIN_F0_HZ, MAX_F0_HZ), logit > 0
    halved = voiced & (chosen < float(seen["voices"][0] @ torch.tensor(CREAK_HZ)))
    hz = torch.where(voiced, torch.where(halved, (chosen / 2).clamp(min=32.0), chosen), torch.tensor(50.0))
    hz = (hz * seen["pitch"]).clamp(MIN_MOVED_F0_HZ, MAX_MOVED_F0_HZ)
    pulses, breath = decoder.filters(h).split(BINS, -1)
    low = torch.arange(BINS) < LOW_BINS
    silent = torch.tensor(SILENT)
    shaped = torch.where(voiced[..., None], pulses, torch.where(low, breath, silent))
    filters = torch.cat([shaped, torch.where(low, silent, breath)], -1)
    gain = torch.ones_like(hz) * seen["pitch"].clamp(max=1.0).sqrt()
    return decoder.frames(filters, hz, gain, seen["noise"], seen["phase"], seen["tail"])[0], voiced, halved


@pytest.mark.parametrize("voices", [[1.0, 0.0], [0.0, 1.0], [0.75, 0.25]])
@pytest.mark.parametrize("pitch", [1.0, 0.8, 1.3])
def test_each_frame_follows_the_rule(
    decoder: Decoder, written: onnx.ModelProto, voices: list[float], pitch: float
) -> None:
    feeds = given(decoder, voices, pitch)
    expected, voiced, halved = by_hand(decoder, feeds)
    assert voiced.any()
    assert not voiced.all()
    assert bool(halved.any()) == (voices[0] > 0)
    found = stock(with_creak(written, CREAK_HZ)).run(["spectrum"], feeds)[0]
    plain = stock(written).run(["spectrum"], feeds)[0]
    assert np.abs(found - expected.numpy()).max() < 1e-3 * np.abs(expected.numpy()).max()
    assert not np.allclose(found, plain, atol=0.01 * float(np.abs(plain).max()))


def test_it_is_the_same_before_and_after_folding(decoder: Decoder, written: onnx.ModelProto) -> None:
    feeds = given(decoder, [1.0, 0.0], 1.0)
    before = stock(folded(with_creak(written, CREAK_HZ))).run(None, feeds)
    after = stock(with_creak(folded(written), CREAK_HZ)).run(None, feeds)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)


def test_what_creaks_or_is_no_vocoder_is_refused(written: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="creaks already"):
        with_creak(with_creak(written, CREAK_HZ), CREAK_HZ)
    with pytest.raises(ValueError, match="no product of F0 and pitch"):
        without = onnx.ModelProto()
        without.CopyFrom(written)
        for node in without.graph.node:
            node.input[:] = ["raised" if name == "pitch" else name for name in node.input]
        with_creak(without, CREAK_HZ)
