"""A small bundle whose vocoder sees the text, of networks that nothing has trained: written by the real exporter, int8
and with drafts, so that every law is held over the parts that serve a natural voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.text import NUM_PHONE_IDS
from models.codec import NUM_CODES, Decoder
from models.durations import DurationConfig, DurationNet
from models.export import round_to_half, write_bundle
from models.export_drafts import export_drafts
from models.forecast import Forecast, ForecastConfig
from models.lm_data import Example
from models.parity import check
from models.quantise_bundle import quantise_bundle
from models.seen_phones import SEEN_ROWS
from models.speech_lm import LmConfig, SpeechLm

VOICES = ("one", "two")


def write_seeing(folder: Path) -> Bundle:
    """Every product is large enough for int8, whose sums no order changes (`models.quantise.MIN_WEIGHTS`)."""
    torch.manual_seed(6)
    decoder = Decoder(len(VOICES), SEEN_ROWS, 128, 96).eval()
    config = LmConfig(voices=len(VOICES), num_phone_ids=NUM_PHONE_IDS, width=128, layers=2, heads=2, hidden=128)
    lm = SpeechLm(config).eval()
    lm.forecast = Forecast(ForecastConfig(width=128, first=128, second=128)).eval()
    durations = DurationNet(DurationConfig(voices=len(VOICES), num_phone_ids=NUM_PHONE_IDS, width=64)).eval()
    assert decoder.seen is not None
    with torch.no_grad():
        decoder.seen.weight.normal_(0, 0.3)
        decoder.source.weight.mul_(0.02)  # voiced at about 120 Hz: where F0 leaps, last bits add up in the phase
        decoder.source.bias[1] = 1.0
        for parameter in decoder.parameters():
            if parameter.dim() == 1:  # zeros would be kept once for several, in a graph of another form
                parameter.add_(0.02 * torch.randn_like(parameter))
        lm.to_code.weight.normal_(0, 0.3)  # opinions, so that what is likeliest is no matter of a last bit
    for network in (decoder, lm, durations):
        round_to_half(network)
    voices = [{"id": name, "name": name, "index": at, "description": ""} for at, name in enumerate(VOICES)]
    about = {"name": "seeing", "version": "0", "defaults": {"temperature": 0.0}}
    write_bundle(folder, decoder, lm, durations, voices, about | {"licences": [], "provenance": {}, "quality": {}})
    check(folder, decoder, lm, durations, tolerance=1e-3)
    quantise_bundle(folder, _speech())
    export_drafts(folder, lm)
    return load_bundle(folder)


def _speech() -> list[Example]:
    """Of nothing: phones of a tenth of a second and random codes, for the scales of int8."""
    rng = np.random.default_rng(6)
    return [
        Example(
            codes=rng.integers(0, NUM_CODES, 75),
            phones=rng.integers(1, NUM_PHONE_IDS, 30),
            pauses=np.eye(1, 30, 0, dtype=int)[0],
            ends=np.arange(10, 310, 10),
            speaker=speaker,
            stretch=1.0,
        )
        for speaker in range(len(VOICES))
    ]
