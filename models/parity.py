"""Runs an exported bundle beside the torch networks it came from."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from models.codec import FRAMES_PER_CODE, NUM_CODES, Decoder
from models.export import vocoder_inputs
from models.speech_lm import BEYOND, MAX_ELAPSED, LmInputs, SpeechLm

TOLERANCE = 1e-4


class ParityError(Exception):
    """The exported graph says something else than the network it came from."""


def check(folder: Path, decoder: Decoder, network: SpeechLm, tolerance: float = TOLERANCE) -> dict[str, float]:
    """Largest differences, relative to the largest value; raises ParityError above `tolerance`."""
    differences = {"lm": lm_difference(folder, network), "vocoder": vocoder_difference(folder, decoder)}
    for name, difference in differences.items():
        if not difference <= tolerance:
            raise ParityError(f"{name}: torch and ONNX differ by {difference:.2e}, at most {tolerance:.0e} is right")
    return differences


@torch.no_grad()
def lm_difference(folder: Path, network: SpeechLm, steps: int = 24) -> float:
    config = network.config
    generator = torch.Generator().manual_seed(1)

    def draw(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=generator)

    inputs = LmInputs(
        code=draw(NUM_CODES + 1, 1, steps),
        phones=draw(config.num_phone_ids, 1, steps, 8),
        elapsed=draw(MAX_ELAPSED + 1, 1, steps),
        to_pause=draw(BEYOND + 1, 1, steps),
        pause_type=draw(5, 1, steps),
        speaker=draw(config.voices, 1, 1).expand(1, steps),
        speed=torch.full((1, steps), 0.1),
    )
    hidden = network(inputs)
    expected = torch.cat([network.to_code(hidden), network.to_advance(hidden)], -1)[0].numpy()
    session = ort.InferenceSession(folder / "lm.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    cache = {
        f"past_{kind}{layer}": np.zeros((1, config.kv_heads, steps + 8, config.head_dim), np.float32)
        for layer in range(config.layers)
        for kind in "kv"
    }
    rows = []
    for step in range(steps):
        feed = {item.name: getattr(inputs, item.name)[:, step : step + 1].numpy() for item in fields(inputs)}
        lengths = {"seqlens_k": np.array([step], np.int32), "total_len": np.array([step + 1], np.int32)}
        result = dict(zip(names, session.run(None, feed | cache | lengths), strict=True))
        cache = {name: result[name.replace("past", "present")] for name in cache}
        rows.append(np.concatenate([result["code_logits"][0, 0], result["advance_logits"][0, 0]]))
    return float(np.abs(np.array(rows) - expected).max() / np.abs(expected).max())


@torch.no_grad()
def vocoder_difference(folder: Path, decoder: Decoder) -> float:
    inputs = vocoder_inputs(decoder, 2, 3)
    generator = torch.Generator().manual_seed(2)
    inputs["codes"] = torch.randint(0, NUM_CODES, inputs["codes"].shape, generator=generator)
    inputs["noise"] = torch.randn(inputs["noise"].shape, generator=generator)
    inputs["voice"] = torch.arange(2) % decoder.voice.num_embeddings
    expected = [value.numpy() for value in decoder(*inputs.values())]
    session = ort.InferenceSession(folder / "vocoder.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    # Spectra of the first code only: a last-bit difference in F0 adds up in the phase, in either one equally right.
    # What is fed back in the network itself is compared to the end.
    pairs = [(found[0][:, :FRAMES_PER_CODE], expected[0][:, :FRAMES_PER_CODE]), *zip(found[1:3], expected[1:3])]
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)
