"""The LM over several steps of one sequence, made of single ones: for a bundle that brings no draft heads.

Slower than `verify.onnx` and with the same bits, so whatever holds of one holds of the other.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from engines.bundle import Bundle, Drafts
from engines.runtime.base import FloatArray, StepInputs
from engines.runtime.onnx_cpu import OnnxLm

LENGTH = 3


def with_drafts(bundle: Bundle) -> Bundle:
    """The bundle as if it brought drafts; its runtime must then be given."""
    return (
        bundle
        if bundle.drafts
        else dataclasses.replace(bundle, drafts=Drafts(greedy="", sampled="", verify="", length=LENGTH))
    )


class StepwiseLm:
    def __init__(self, bundle: Bundle, slots: int, length: int = LENGTH) -> None:
        self._lm = OnnxLm(dataclasses.replace(bundle, drafts=None), slots)
        self.inputs, self.kernels = self._lm.inputs, self._lm.kernels
        self.ahead = StepInputs.allocate(1, bundle.adapter.features, length + 1)

    def step(self, first: int, last: int) -> FloatArray:
        return self._lm.step(first, last)

    def verify(self, slot: int) -> FloatArray:
        codes = []
        for step in range(self.ahead.features.shape[1]):
            self.inputs.features[slot] = self.ahead.features[0, step]
            self.inputs.past[slot] = self.ahead.past[0] + step
            codes.append(self._lm.step(slot, slot + 1)[0].copy())
        return np.stack(codes)
