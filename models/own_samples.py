"""What the speech model itself says, greedily, for given phones: what its forecast must learn to foresee.

    python -m models.own_samples --bundle DIR --codes FILE --out FILE --tokens N

Runs the exported graph as serving does, many rows at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from engines.families.phone_pointer.bundle import Bundle, PointerAdapter, load_bundle
from models.code_files import Coded, read_codes, saying_refusals, write_codes
from models.cpu_networks import speech_model
from models.lm_data import Example, collate
from models.speech_lm import feature_rows


@dataclass(slots=True)
class _Row:
    example: Example
    features: np.ndarray  # [T, F] for the LM's input table
    codes: list[int] = field(default_factory=list)


def own_samples(bundle: Bundle, examples: list[Example], rows: int = 48) -> Iterator[Example]:
    """The same phones, times and voices with the LM's own codes, in the order in which they finish."""
    lm, adapter = speech_model(bundle, rows), bundle.adapter
    waiting = list(reversed(examples))
    running: list[_Row | None] = [None] * rows
    while waiting or any(running):
        for slot in range(rows):
            if running[slot] is None and waiting:
                running[slot] = _row(waiting.pop(), adapter)
                lm.past[slot] = 0
            row = running[slot]
            if row is not None:
                lm.features[slot] = row.features[len(row.codes)]
                previous = row.codes[-1] if row.codes else bundle.codes.begin
                lm.features[slot, 0] = adapter.offsets["code"] + previous
        codes = lm.step(0, rows).argmax(1)
        for slot, row in enumerate(running):
            if row is None:
                continue
            row.codes.append(int(codes[slot]))
            lm.past[slot] += 1
            if len(row.codes) == len(row.features):
                yield replace(row.example, codes=np.array(row.codes))
                running[slot], lm.past[slot] = None, 0


def _row(example: Example, adapter: PointerAdapter) -> _Row:
    cut = replace(example, codes=example.codes[: adapter.max_steps])
    rows = feature_rows(collate([cut])[0], adapter.offsets, adapter.num_phone_ids)
    return _Row(cut, rows[0].numpy())


def draw(bundle: Bundle, examples: list[Example], tokens: int) -> list[Example]:
    """About so many steps of own speech, over examples in random order."""
    order = np.random.default_rng(7).permutation(len(examples))
    samples: list[Example] = []
    with Progress() as bar:
        task = bar.add_task("own samples", total=tokens)
        for sample in own_samples(bundle, [examples[at] for at in order]):
            samples.append(sample)
            bar.advance(task, len(sample.codes))
            if bar.tasks[task].finished:
                break
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--codes", type=Path, required=True, help="what models.encode wrote: the texts, times, voices")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=600_000)
    arguments = parser.parse_args()
    bundle, coded = load_bundle(arguments.bundle), read_codes(arguments.codes)
    encoder = bundle.provenance.get("encoder_sha256", coded.encoder_sha256)  # what it says is in its own codes
    write_codes(arguments.out, Coded(encoder_sha256=encoder, examples=draw(bundle, coded.examples, arguments.tokens)))


if __name__ == "__main__":
    saying_refusals(main)
