"""CPU time of a vocoder job on our kernels and on the runtime's: python -m models.bench.vocoder

The two alternate; medians. No torch.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.networks import SpectrumModel, pure
from models.cpu_networks import spectrum_model

SHAPES = [(1, 1), (1, 2), (1, 4), (1, 8), (2, 4), (4, 4), (4, 8), (8, 4), (32, 1), (8, 8), (16, 8)]
CALLS = 25  # in a round


def turn_s(bundle: Bundle, vocoder: SpectrumModel, rows: int, codes: int) -> float:
    """Median seconds of a call with `codes` codes in each of `rows` rows."""
    rng = np.random.default_rng([rows, codes])
    frames = np.zeros((rows, codes, bundle.frame_width), np.int64)
    frames[..., 0] = rng.integers(0, bundle.codes.count, (rows, codes))
    drawn = np.stack([noise(row, 0, bundle.look_back + codes * bundle.samples_per_code) for row in range(rows)])
    voices, pitch = np.repeat(pure(len(bundle.voices), 0), rows, 0), np.ones(rows, np.float32)
    state, times = vocoder.initial_state(rows), []
    for _ in range(CALLS):
        started_s = time.thread_time()
        _, state = vocoder.run(frames, voices, pitch, drawn, state)
        times.append(time.thread_time() - started_s)
    return median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    bundle = load_bundle()
    ours, theirs = spectrum_model(bundle), spectrum_model(bundle, own_kernels="off")
    times: dict[tuple[int, int], list[tuple[float, float]]] = {shape: [] for shape in SHAPES}
    for _ in range(rounds):
        for rows, codes in SHAPES:
            times[rows, codes].append((turn_s(bundle, ours, rows, codes), turn_s(bundle, theirs, rows, codes)))
    table = Table(caption=f"Kernels: {ours.kernels}.")
    for column in ("rows", "codes", "ours, ms", "the runtime's, ms", "ratio", "ours a code, ms"):
        table.add_column(column, justify="right")
    for (rows, codes), pairs in times.items():
        mine_s, other_s = median(mine for mine, _ in pairs), median(other for _, other in pairs)
        ratio = median(other / mine for mine, other in pairs)
        figures = 1e3 * mine_s, 1e3 * other_s, ratio, 1e3 * mine_s / rows / codes
        table.add_row(str(rows), str(codes), *(f"{figure:.{digits}f}" for figure, digits in zip(figures, (2, 2, 2, 3))))
    Console().print(table)


if __name__ == "__main__":
    main()
