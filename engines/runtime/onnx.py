"""ONNX Runtime on the CPU; the only file that imports it.

Measured on ONNX Runtime 1.31: a row has the same bits at every batch size and chunk length with these graphs, and
without flash attention a step with a long context is a quarter faster. Each session has its own threads; two spinning
pools on the same cores would halve the speed, so the defaults give each one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_GQA_DISABLE_FLASH_ATTENTION", "1")

from typing import Any

import numpy as np
import onnxruntime as ort

from engines.bundle import Bundle
from engines.errors import BundleError
from engines.runtime.base import FloatArray, IntArray, State, StepInputs

_SPARE_POSITIONS = 2  # beyond the longest segment, for rows that are computed and ignored


def _session(bundle: Bundle, file: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(bundle.folder / file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own types for every kind of unreadable graph
        raise BundleError(f"{file} cannot be loaded: {error}") from error


def _expect_names(file: str, kind: str, found: list[str], wanted: list[str]) -> None:
    if sorted(found) != sorted(wanted):
        raise BundleError(f"{file} has {kind} {sorted(found)}, the manifest asks for {sorted(wanted)}")


class OnnxLm:
    """Cache slabs [slots, kv_heads, positions, head_dim] per layer; memory is committed as slots come into use."""

    def __init__(self, bundle: Bundle, slots: int, threads: int = 1) -> None:
        self.inputs = StepInputs.allocate(slots, len(bundle.adapter.window))
        self._session = _session(bundle, bundle.lm.file, threads)
        lm, positions = bundle.lm, bundle.adapter.max_steps + _SPARE_POSITIONS
        shape = (slots, lm.kv_heads, positions, lm.head_dim)
        types = {one.name: one.type for one in self._session.get_inputs()}
        kept = np.int8 if types.get("past_k0") == "tensor(int8)" else np.float32  # the graph says how it stores
        self._cache = {f"{kind}{layer}": np.zeros(shape, kept) for layer in range(lm.layers) for kind in "kv"}
        self._code_logits = np.zeros((slots, 1, bundle.codes.count), np.float32)
        self._advance_logits = np.zeros((slots, 1, bundle.adapter.max_advance + 1), np.float32)
        self._hidden = np.zeros((slots, 1, lm.width), np.float32)
        self._lengths = np.zeros(slots, np.int32)
        self._longest = np.zeros(1, np.int32)
        self._bindings: dict[tuple[int, int], Any] = {}
        pasts, presents = [f"past_{name}" for name in self._cache], [f"present_{name}" for name in self._cache]
        _expect_names(
            lm.file, "inputs", [one.name for one in self._session.get_inputs()], [*self._feeds(0, slots), *pasts]
        )
        _expect_names(
            lm.file,
            "outputs",
            [one.name for one in self._session.get_outputs()],
            ["code_logits", "advance_logits", "hidden", *presents],
        )

    def step(self, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        past = self.inputs.past[first:last]
        self._lengths[first:last] = past
        self._longest[0] = past.max() + 1
        binding = self._bindings.get((first, last))
        if binding is None:
            binding = self._bindings[first, last] = self._bind(first, last)
        self._session.run_with_iobinding(binding[0])
        return self._code_logits[first:last, 0], self._advance_logits[first:last, 0]

    def _feeds(self, first: int, last: int) -> dict[str, Any]:
        names = ("code", "phones", "elapsed", "to_pause", "pause_type", "speaker", "speed")
        feeds: dict[str, Any] = {name: getattr(self.inputs, name)[first:last] for name in names}
        return feeds | {"seqlens_k": self._lengths[first:last], "total_len": self._longest}

    def _bind(self, first: int, last: int) -> tuple[Any, list[Any]]:
        """Every tensor is a view of one slab, so a binding serves all steps over the same slots."""
        binding, kept = self._session.io_binding(), []

        def value(array: Any) -> Any:
            kept.append(ort.OrtValue.ortvalue_from_numpy(array))
            return kept[-1]

        for name, array in self._feeds(first, last).items():
            binding.bind_ortvalue_input(name, value(array))
        for name, slab in self._cache.items():
            shared = value(slab[first:last])
            binding.bind_ortvalue_input(f"past_{name}", shared)
            binding.bind_ortvalue_output(f"present_{name}", shared)
        binding.bind_ortvalue_output("code_logits", value(self._code_logits[first:last]))
        binding.bind_ortvalue_output("advance_logits", value(self._advance_logits[first:last]))
        binding.bind_ortvalue_output("hidden", value(self._hidden[first:last]))
        return binding, kept


class OnnxVocoder:
    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self._session = _session(bundle, bundle.vocoder.file, threads)
        self._states = bundle.vocoder.states
        self._outputs = ["spectrum", *[f"{slot.name}_out" for slot in self._states]]
        found = [one.name for one in self._session.get_inputs()]
        _expect_names(
            bundle.vocoder.file, "inputs", found, ["codes", "voice", "noise", *[slot.name for slot in self._states]]
        )

    def initial_state(self, rows: int) -> State:
        return {slot.name: np.zeros((rows, *slot.shape), slot.dtype) for slot in self._states}

    def run(self, codes: IntArray, voice: IntArray, noise: FloatArray, state: State) -> tuple[FloatArray, State]:
        feeds = {"codes": codes, "voice": voice, "noise": noise, **state}
        spectrum, *states = self._session.run(self._outputs, feeds)
        return spectrum, {slot.name: array for slot, array in zip(self._states, states, strict=True)}
