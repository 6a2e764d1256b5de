"""What the LM itself says, greedily, for given phones: the speech that draft heads must learn to foresee.

    python -m models.own_samples --bundle DIR --codes FILE --out FILE --tokens N

Runs the exported graph as serving does, many rows at once, so that the heads see the very states that they will read.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from engines.bundle import Bundle, PointerAdapter, load_bundle
from engines.runtime.onnx import OnnxLm
from models.lm_data import Example

MAX_HOLD_STEPS = 30  # a phone that lasts longer is a fault of the sample; it is cut there


@dataclass(frozen=True, slots=True)
class OwnSample:
    example: Example  # T codes
    hidden: np.ndarray  # [T, D] float16: what the LM's graph held when it made each


@dataclass(slots=True)
class _Row:
    example: Example
    hidden: list[np.ndarray] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)
    pointer: int = 0
    elapsed: int = 0


def own_samples(bundle: Bundle, examples: list[Example], rows: int = 48) -> Iterator[OwnSample]:
    """The same phones, voices and speeds with the LM's own codes and pointer, in the order in which they finish."""
    lm, adapter = OnnxLm(bundle, rows), bundle.adapter
    waiting = list(reversed(examples))
    running: list[_Row | None] = [None] * rows
    while waiting or any(running):
        for slot in range(rows):
            if running[slot] is None and waiting:
                running[slot] = _Row(waiting.pop())
                lm.inputs.past[slot] = 0
                lm.inputs.code[slot] = bundle.codes.begin
            row = running[slot]
            if row is not None:
                _show(adapter, lm, slot, row)
        code_logits, advance_logits = lm.step(0, rows)
        codes, advances = code_logits.argmax(1), advance_logits.argmax(1)
        for slot, row in enumerate(running):
            if row is None:
                continue
            row.codes.append(int(codes[slot]))
            row.pointers.append(row.pointer)
            row.hidden.append(lm.hidden(slot).astype(np.float16))
            lm.inputs.code[slot] = codes[slot]
            lm.inputs.past[slot] += 1
            advance = int(advances[slot]) or int(row.elapsed + 1 >= MAX_HOLD_STEPS)
            last = len(row.example.phones) - 1
            if len(row.codes) >= adapter.max_steps or (advance and row.pointer == last):
                said = replace(row.example, codes=np.array(row.codes), pointer=np.array(row.pointers))
                yield OwnSample(said, np.array(row.hidden))
                running[slot], lm.inputs.past[slot] = None, 0
            elif advance:
                row.pointer, row.elapsed = min(row.pointer + advance, last), 0
            else:
                row.elapsed += 1


def _show(adapter: PointerAdapter, lm: OnnxLm, slot: int, row: _Row) -> None:
    one, inputs = row.example, lm.inputs
    places = [row.pointer + shift for shift in adapter.window]
    inputs.phones[slot, 0] = [one.phones[at] if 0 <= at < len(one.phones) else 0 for at in places]
    inputs.elapsed[slot] = min(row.elapsed, adapter.max_elapsed)
    inputs.to_pause[slot] = one.to_pause[row.pointer]
    inputs.pause_type[slot] = one.pause_type[row.pointer]
    inputs.speaker[slot] = one.speaker
    inputs.speed[slot] = one.speed


def draw(folder: Path, examples: list[Example], tokens: int) -> list[OwnSample]:
    """About so many steps of own speech, over examples in random order."""
    order = np.random.default_rng(7).permutation(len(examples))
    samples: list[OwnSample] = []
    with Progress() as bar:
        task = bar.add_task("own samples", total=tokens)
        for sample in own_samples(load_bundle(folder), [examples[at] for at in order]):
            samples.append(sample)
            bar.advance(task, len(sample.example.codes))
            if bar.tasks[task].finished:
                break
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--codes", type=Path, required=True, help="what models.encode wrote: the texts, voices, speeds")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=800_000)
    arguments = parser.parse_args()
    examples = pickle.loads(arguments.codes.read_bytes())
    from models import own_samples as module  # so that the samples are pickled under its name, not under __main__

    arguments.out.write_bytes(pickle.dumps(module.draw(arguments.bundle, examples, arguments.tokens)))


if __name__ == "__main__":
    main()
