"""A shipped voice's GPU form on the emulated device: written once a run, with Talker and Vocoder over it.

Of the bundle that PARLANDO_BUNDLE names, as the server's: else of the default one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from engines.families.base import Pending, Sampling, Steps
from engines.families.bundle import Bundle as AnyBundle
from engines.families.common.device_form import DeviceForm
from engines.families.phone_pointer.bundle import load_bundle
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.families.shipped import DEFAULT
from engines.runtime.base import IntArray
from engines.runtime.onnx_cuda import OnnxCuda
from models.gpu_graphs.__main__ import export
from tests.dry_cuda.emulation import Emulation

BUNDLE = load_bundle(Path(os.environ.get("PARLANDO_BUNDLE", DEFAULT)))
_forms: dict[tuple[str, str], DeviceForm] = {}
GREEDY, DRAWN = Sampling(), Sampling(temperature=0.8)


@cache
def emulation() -> Emulation:
    return Emulation()


def form(dtype: str = "float16") -> DeviceForm:
    return form_of(BUNDLE, dtype)


def form_of(bundle: AnyBundle, dtype: str) -> DeviceForm:
    """Written once a run."""
    if (bundle.digest, dtype) not in _forms:
        folder = Path(tempfile.mkdtemp(prefix="gpu-form-"))
        export(bundle, folder, dtype)
        _forms[bundle.digest, dtype] = DeviceForm.load(folder, bundle)
    return _forms[bundle.digest, dtype]


@cache
def talker(slots: int = 6) -> DeviceTalker:
    emulation()
    made = DeviceTalker(BUNDLE, form(), OnnxCuda(), slots)
    made.warm_up()
    return made


@cache
def vocoder(slots: int = 6) -> DeviceVocoder:
    emulation()
    made = DeviceVocoder(BUNDLE, form(), OnnxCuda(), slots)
    made.warm_up()
    return made


def rows(steps: int, seed: int) -> IntArray:
    """[steps, R] that the table has: what an utterance's steps might read."""
    count = BUNDLE.codes.count
    return np.random.default_rng(seed).integers(count + 1, BUNDLE.adapter.offsets["speaker"], (steps, 14))


@dataclass(slots=True, kw_only=True)
class Utterance:
    """Steps of one slot, in the order that the engine makes them."""

    slot: int
    seed: int
    sampling: Sampling = GREEDY
    frames: list[int] = field(default_factory=list)
    scores: list[bool] = field(default_factory=list)
    steps: int = 12

    @property
    def length(self) -> int:
        return len(self.frames)


def launched(talker: DeviceTalker, batch: list[Utterance], behind: Sequence[int] | None = None) -> Pending[Steps]:
    """A step of each, behind so many of its own that are in flight."""
    at = [one.length + steps for one, steps in zip(batch, behind or [0] * len(batch), strict=True)]
    return talker.step(
        np.array([one.slot for one in batch]),
        np.stack([rows(one.steps, one.seed)[length] for one, length in zip(batch, at, strict=True)])[:, None],
        np.ones(len(batch), np.int64),
        np.array(at),
        [one.sampling for one in batch],
        np.array([(one.seed, length) for one, length in zip(batch, at, strict=True)]),
        None,
    )


def read(steps: Steps, batch: list[Utterance]) -> None:
    for one, frame, finite in zip(batch, steps.frames[:, 0, 0].tolist(), steps.is_finite[:, 0].tolist(), strict=True):
        one.frames.append(frame)
        one.scores.append(finite)


def decode(talker: DeviceTalker, batch: list[Utterance]) -> None:
    read(launched(talker, batch).wait(), batch)


def spoken_alone(utterance: Utterance, steps: int | None = None) -> list[int]:
    made, alone = talker(1), Utterance(slot=0, seed=utterance.seed, sampling=utterance.sampling, steps=utterance.steps)
    made.begin(0, None)
    while alone.length < (steps or utterance.steps):
        decode(made, [alone])
    return alone.frames
