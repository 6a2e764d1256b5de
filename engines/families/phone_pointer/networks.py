"""The shipped voice's graphs over a Backend: speech model, forecast, durations, vocoder. Arrays in, arrays out; what
they mean is the business of the files beside this one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.families.base import Frames
from engines.families.common.slot_calls import KvSlabs, SlotCalls, expect_names
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.base import Backend, FloatArray, IntArray

_SPARE_POSITIONS = 10  # beyond the longest segment, for steps that are computed and taken back
State = dict[str, NDArray[Any]]


class SpeechModel:
    """Logits of one step for a range of slots, or of several steps of one slot.

    The caller writes `features` [slots, F] (rows of the input table) and `past` [slots] (positions held); rows that
    lie between wanted ones are computed and ignored, and write at `past` only, where their next real step writes again.
    """

    def __init__(self, bundle: Bundle, backend: Backend, slots: int) -> None:
        lm, width, drafts = bundle.lm, bundle.adapter.features, bundle.drafts
        files = [lm.file, *([drafts.verify] if drafts is not None else [])]
        trial: dict[str, Any] = {
            "features": np.zeros((1, 1, width), np.int64),
            "seqlens_k": np.zeros(1, np.int32),
            "total_len": np.ones(1, np.int32),
        }
        cache = np.zeros((1, lm.kv_heads, 1, lm.head_dim), np.float32)
        names = [f"past_{kind}{layer}" for layer in range(lm.layers) for kind in "kv"]
        graph, *several = backend.graphs(
            *(bundle.folder / file for file in files), trial=trial | dict.fromkeys(names, cache)
        )
        self.kernels, self.device = graph.kernels, backend.device
        self.features, self.past = np.zeros((slots, width), np.int64), np.zeros(slots, np.int64)
        self.slabs = KvSlabs(
            backend,
            graph,
            slots=slots,
            layers=lm.layers,
            kv_heads=lm.kv_heads,
            positions=bundle.adapter.max_steps + _SPARE_POSITIONS,
            head_dim=lm.head_dim,
        )
        self._features = backend.buffer((slots, 1, width), "int64")
        self._lengths, self._longest = backend.buffer((slots,), "int32"), backend.buffer((1,), "int32")
        self._logits = backend.buffer((slots, 1, bundle.codes.count), "float32")
        by_slot = {"features": self._features, "seqlens_k": self._lengths, "code_logits": self._logits}
        feeds = [*by_slot][:2]
        expect_names(
            lm.file,
            graph,
            [*feeds, "total_len", *names],
            ["code_logits", *(name.replace("past", "present") for name in names)],
        )
        self._step = SlotCalls(
            graph, {**by_slot, **self.slabs.named()}, {"total_len": self._longest}, lanes=backend.lanes
        )
        self._several = _SeveralSteps(bundle, backend, several[0], self.slabs) if several else None

    def step(self, first: int, last: int) -> FloatArray:
        """-> code logits [last - first, V], valid until the next call"""
        past = self.past[first:last]
        self._features.write(self.features[first:last, None], first)
        self._lengths.write(past, first)
        self._longest.write(past.max(keepdims=True) + 1)
        self._step.run(first, last)
        return self._logits.read(first, last)[:, 0]

    @property
    def most_steps(self) -> int:
        """Of one `verify`; 1 without drafts."""
        return 1 if self._several is None else self._several.steps

    def verify(self, slot: int, features: IntArray) -> FloatArray:
        """features [S, F] -> code logits [S, V], valid until the next call. Each step sees those before it and has the
        bits that it has alone. The cache holds all S afterwards; to take some back, count fewer in `past`."""
        assert self._several is not None, "only for a bundle that brings drafts"
        return self._several.run(slot, int(self.past[slot]), features)


class _SeveralSteps:
    """Attention goes step by step in the graph, so the cache is an output of each step."""

    def __init__(self, bundle: Bundle, backend: Backend, graph: Any, slabs: KvSlabs) -> None:
        assert bundle.drafts is not None
        self.steps = bundle.drafts.length + 1
        self._features = backend.buffer((1, self.steps, bundle.adapter.features), "int64")
        self._past, self._longest = backend.buffer((1,), "int32"), backend.buffer((1,), "int32")
        self._logits = backend.buffer((1, self.steps, bundle.codes.count), "float32")
        shared = {
            "features": self._features,
            "seqlens_k": self._past,
            "total_len": self._longest,
            "code_logits": self._logits,
        }
        self._calls = SlotCalls(graph, slabs.named(f"_{step}" for step in range(self.steps)), shared)

    def run(self, slot: int, past: int, features: IntArray) -> FloatArray:
        self._features.write(features[None])
        self._past.write(np.array([past]))
        self._longest.write(np.array([past + 1]))
        self._calls.run(slot, slot + 1)
        logits: FloatArray = self._logits.read()[0]
        return logits


class Forecast:
    """K codes guessed at once, from the last code and what the next K steps see beside their codes."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        assert bundle.drafts is not None, "only for a bundle that brings drafts"
        self.length = bundle.drafts.length
        shapes = {
            "code": ((1,), "int64"),
            "features": ((self.length, bundle.adapter.features - 1), "int64"),
            "scale": ((1,), "float32"),
            "noise": ((self.length, bundle.codes.count), "float32"),
        }
        self._inputs = {name: backend.buffer(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._codes = backend.buffer((self.length,), "int64")
        self._greedy = self._bound(bundle, backend, bundle.drafts.greedy, ("code", "features"))
        self._sampled = self._bound(bundle, backend, bundle.drafts.sampled, tuple(shapes))

    def _bound(self, bundle: Bundle, backend: Backend, file: str, names: tuple[str, ...]) -> Any:
        (graph,) = backend.graphs(bundle.folder / file)
        expect_names(file, graph, names)
        return graph.bind({"codes": self._codes, **{name: self._inputs[name] for name in names}})

    def propose(self, code: int, features: IntArray, scale: float = 1.0, noise: FloatArray | None = None) -> IntArray:
        """features [N, F - 1], noise [K, V] (what the speech model adds at these positions; None: greedy) -> [K]"""
        self._inputs["code"].write(np.array([code]))
        self._inputs["features"].write(features)
        if noise is not None:
            self._inputs["scale"].write(np.array([scale], np.float32))
            self._inputs["noise"].write(noise)
        call = self._greedy if noise is None else self._sampled
        call.launch()
        call.wait()
        return self._codes.read()


class Durations:
    """How long phones last. The caller writes rows of `features` [R, F] and `stretch` [R] (log), then asks."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        durations = bundle.durations
        self.rows = durations.rows
        self.features = np.zeros((self.rows, durations.features), np.int64)
        self.stretch = np.zeros(self.rows, np.float32)
        (graph,) = backend.graphs(bundle.folder / durations.file)
        expect_names(durations.file, graph, ["features", "stretch"])
        self._inputs = {
            "features": backend.buffer(self.features.shape, "int64"),
            "stretch": backend.buffer((self.rows,), "float32"),
        }
        self._hops = backend.buffer((self.rows,), "int64")
        self._call = graph.bind({**self._inputs, "hops": self._hops})

    def plan(self) -> IntArray:
        """-> hops [R]; each row's depend on that row alone"""
        self._inputs["features"].write(self.features)
        self._inputs["stretch"].write(self.stretch)
        self._call.launch()
        self._call.wait()
        return self._hops.read()


class SpectrumModel:
    """Frames of the speech model to complex ones; the state goes in and comes out."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        (self._graph,) = backend.graphs(bundle.folder / bundle.vocoder.file)
        self.kernels = self._graph.kernels
        self._vocoder, self._states = bundle.vocoder, bundle.vocoder.states
        nothing = self._vocoder.feeds(np.zeros((1, 0, bundle.frame_width), np.int64))
        wanted = [*nothing, "voices", "pitch", "noise", *(slot.name for slot in self._states)]
        expect_names(bundle.vocoder.file, self._graph, wanted)

    def initial_state(self, rows: int) -> State:
        """Silence before the first sample, each array [B, ...]."""
        return {slot.name: np.full((rows, *slot.shape), 0, slot.dtype) for slot in self._states}

    def run(
        self, frames: Frames, voices: FloatArray, pitch: FloatArray, noise: FloatArray, state: State
    ) -> tuple[FloatArray, State]:
        """frames [B, N, W], voices [B, V] (weights that sum to 1), pitch [B] (times the F0 that the network chooses),
        noise [B, look_back + N * samples_per_code], state [B, ...] -> spectrum [B, F, 2, bins] (real and imaginary),
        new state. The given state is not changed."""
        feeds: State = {**self._vocoder.feeds(frames), "voices": voices, "pitch": pitch, "noise": noise, **state}
        found = self._graph.run(feeds)
        return found["spectrum"], {slot.name: found[f"{slot.name}_out"] for slot in self._states}


def pure(voices: int, index: int) -> FloatArray:
    """The weights [1, V] of one voice alone."""
    return np.eye(1, voices, index, np.float32)
