"""Runs an exported bundle beside the torch networks it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from engines.runtime.ort import ort
from models.codec import FRAMES_PER_CODE, NUM_CODES, Decoder
from models.durations import PAUSE_TYPES, DurationNet, TimedPhones, expected_log_hops
from models.durations import WINDOW as DURATION_WINDOW
from models.durations import feature_rows as duration_rows
from models.export_durations import DURATION_ROWS
from models.export_vocoder import vocoder_inputs
from models.speech_lm import BEYOND, FOLLOWING, LEFT, SINCE, LmInputs, SpeechLm, feature_rows, input_table

TOLERANCE = 1e-4


class ParityError(Exception):
    """The exported graph says something else than the network it came from."""


def check(
    folder: Path, decoder: Decoder, network: SpeechLm, durations: DurationNet, tolerance: float = TOLERANCE
) -> dict[str, float]:
    """Largest differences, relative to the largest value; raises ParityError above `tolerance`."""
    differences = {"lm": lm_difference(folder, network), "vocoder": vocoder_difference(folder, decoder)}
    check_durations(folder, durations)
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
        since=draw(SINCE[1] - SINCE[0] + 1, 1, steps),
        left=draw(LEFT[1] - LEFT[0] + 1, 1, steps),
        following=draw(FOLLOWING[1] - FOLLOWING[0] + 1, 1, steps),
        to_pause=draw(BEYOND + 1, 1, steps),
        pause_type=draw(5, 1, steps),
        speaker=draw(config.voices, 1, 1).expand(1, steps),
    )
    expected = network.logits(inputs, network(inputs))[0].numpy()
    features = feature_rows(inputs, input_table(network)[1], config.num_phone_ids).numpy()
    session = ort.InferenceSession(folder / "lm.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    cache = {
        f"past_{kind}{layer}": np.zeros((1, config.kv_heads, steps + 8, config.head_dim), np.float32)
        for layer in range(config.layers)
        for kind in "kv"
    }
    rows = []
    for step in range(steps):
        feed = {"features": features[:, step : step + 1]}
        lengths = {"seqlens_k": np.array([step], np.int32), "total_len": np.array([step + 1], np.int32)}
        result = dict(zip(names, session.run(None, feed | cache | lengths), strict=True))
        cache = {name: result[name.replace("past", "present")] for name in cache}
        rows.append(result["code_logits"][0, 0])
    return float(np.abs(np.array(rows) - expected).max() / np.abs(expected).max())


@torch.no_grad()
def check_durations(folder: Path, network: DurationNet, calls: int = 40) -> None:
    """Its table is rounded once more, so a phone on the edge between two lengths may fall to the other side."""
    rng, config = np.random.default_rng(4), network.config
    session = ort.InferenceSession(folder / "durations.onnx", providers=["CPUExecutionProvider"])
    shape, equal = (DURATION_ROWS, len(DURATION_WINDOW)), 0
    for _ in range(calls):
        some = TimedPhones(
            torch.from_numpy(rng.integers(config.num_phone_ids, size=shape)),
            torch.from_numpy(rng.integers(PAUSE_TYPES, size=shape)),
            torch.from_numpy(rng.integers(config.voices, size=DURATION_ROWS)),
            torch.from_numpy(rng.uniform(-0.3, 0.3, DURATION_ROWS).astype(np.float32)),
            torch.zeros(DURATION_ROWS),
        )
        expected = torch.exp(expected_log_hops(network, some)).round().numpy()
        feeds = {"features": duration_rows(config, some).numpy(), "stretch": some.stretch.numpy()}
        found = session.run(None, feeds)[0]
        equal += int((found == expected).sum())
        if np.abs(found - expected).max() > 1 + 0.01 * expected.max():
            raise ParityError(f"durations: torch says {expected.tolist()} hops, ONNX {found.tolist()}")
    if equal < 0.95 * calls * DURATION_ROWS:
        raise ParityError(f"durations: {equal} of {calls * DURATION_ROWS} phones are equally long in torch and ONNX")


@torch.no_grad()
def vocoder_difference(folder: Path, decoder: Decoder) -> float:
    inputs = vocoder_inputs(decoder, 2, 3)
    generator = torch.Generator().manual_seed(2)
    inputs["codes"] = torch.randint(0, NUM_CODES, inputs["codes"].shape, generator=generator)
    inputs["noise"] = torch.randn(inputs["noise"].shape, generator=generator)
    voices = decoder.voice.num_embeddings
    inputs["voices"] = torch.stack([torch.eye(voices)[voices - 1], torch.full((voices,), 1 / voices)])
    inputs["pitch"] = torch.tensor([1.0, 1.25])
    if decoder.seen is not None:
        inputs["seen"] = torch.randint(0, decoder.seen.num_embeddings, inputs["seen"].shape, generator=generator)
    expected = [value.numpy() for value in decoder(*inputs.values())]
    session = ort.InferenceSession(folder / "vocoder.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    # Spectra of the first code only: a last-bit difference in F0 adds up in the phase, in either one equally right.
    # What is fed back in the network itself is compared to the end.
    pairs = [(found[0][:, :FRAMES_PER_CODE], expected[0][:, :FRAMES_PER_CODE]), *zip(found[1:3], expected[1:3])]
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)
