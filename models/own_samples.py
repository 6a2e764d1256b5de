"""What the LM itself says, greedily, for given phones: the speech that draft heads must learn to foresee.

Runs the exported graph as serving does, many rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from engines.bundle import Bundle, PointerAdapter
from engines.runtime.onnx import OnnxLm
from models.lm_data import Example

MAX_HOLD_STEPS = 30  # a phone that lasts longer is a fault of the sample; it is cut there


@dataclass(slots=True)
class _Row:
    example: Example
    codes: list[int] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)
    pointer: int = 0
    elapsed: int = 0


def own_samples(bundle: Bundle, examples: list[Example], rows: int = 48) -> Iterator[Example]:
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
            lm.inputs.code[slot] = codes[slot]
            lm.inputs.past[slot] += 1
            advance = int(advances[slot]) or int(row.elapsed + 1 >= MAX_HOLD_STEPS)
            last = len(row.example.phones) - 1
            if len(row.codes) >= adapter.max_steps or (advance and row.pointer == last):
                yield replace(row.example, codes=np.array(row.codes), pointer=np.array(row.pointers))
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
