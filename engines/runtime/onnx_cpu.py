"""ONNX Runtime on the CPU.

Measured on ONNX Runtime 1.31: a row has the same bits at every batch size and chunk length with these graphs, and
without flash attention a step with a long context is a quarter faster. Each session has its own threads; two spinning
pools on the same cores would halve the speed, so the defaults give each one thread. With two threads a large batch goes
as two halves at once, which meet once a step and not once a kernel.

Attention and int8 products of the LM, and the vocoder's blocks and frames, are kernels of ours (cpu_kernels/) where
they were compiled and the processor has AVX2; else the runtime's, which the graphs bring along.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.errors import BundleError
from engines.runtime.base import DraftInputs, FloatArray, IntArray, State, StepInputs
from engines.runtime.kernels import AUTO, FOLDED, Kernels, choose, instruction_class
from engines.runtime.ort import ort

Bound = tuple[Any, list[Any]]  # a binding and the values that it must outlive
_RUNTIMES = Kernels(form=None, why_not="this graph has no nodes for ours")
_UNFOLDED = Kernels(form=None, why_not="the bundle's graph has no nodes for ours; export it again")
_MAX_BINDINGS = 1024  # 25 kB and 80 us each
_HALVES_FROM = 8  # rows: two halves of fewer read the weights twice for too little
_SPARE_POSITIONS = 10  # beyond the longest segment, for steps that are computed and taken back


def arithmetic(kernels: str) -> str:
    """All that decides last bits besides the bundle: our kernels by name, the instructions that the runtime's own
    kernels may use, and the runtime's version."""
    return f"{kernels}; {instruction_class()}; onnxruntime {ort.__version__}"


def _session(bundle: Bundle, file: str, threads: int, kernels: Kernels = _RUNTIMES) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        kernels.register(options)
        return ort.InferenceSession(
            str(bundle.folder / file),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],  # its one node takes twice the time of add and norm
        )
    except Exception as error:  # ONNX Runtime raises its own types for every kind of unreadable graph
        raise BundleError(f"{file} cannot be loaded: {error}") from error


def _is_folded(session: ort.InferenceSession) -> bool:
    return session.get_modelmeta().custom_metadata_map.get(FOLDED) is not None


def _expect_names(file: str, kind: str, found: list[str], wanted: list[str]) -> None:
    if sorted(found) != sorted(wanted):
        raise BundleError(f"{file} has {kind} {sorted(found)}, the manifest asks for {sorted(wanted)}")


def _cache_type(session: ort.InferenceSession) -> type[Any]:
    """The graph says how it stores keys and values."""
    types = {one.name: one.type for one in session.get_inputs()}
    kinds: dict[str, type[Any]] = {"tensor(float16)": np.float16, "tensor(int8)": np.int8}
    return kinds.get(types.get("past_k0", ""), np.float32)


@dataclass(frozen=True, slots=True)
class _LmSessions:
    """All graphs of the LM with the same kernels, so that a step has the same bits in each."""

    whole: ort.InferenceSession
    lone: ort.InferenceSession  # of one thread, which several may use at once
    several: ort.InferenceSession | None
    kernels: Kernels

    @classmethod
    def load(cls, bundle: Bundle, threads: int, wanted: Kernels) -> _LmSessions:
        if wanted.form is None:
            return cls._of(bundle, threads, wanted)
        try:
            found = cls._of(bundle, threads, wanted)
            found._try_a_step(bundle)
        except BundleError as error:  # another geometry than our kernels offer
            return cls._of(bundle, threads, Kernels(form=None, why_not=str(error)))
        return found if _is_folded(found.whole) else replace(found, kernels=_UNFOLDED)

    @classmethod
    def _of(cls, bundle: Bundle, threads: int, kernels: Kernels) -> _LmSessions:
        file = bundle.lm.file
        whole = _session(bundle, file, threads, kernels)
        lone = _session(bundle, file, 1, kernels) if threads > 1 else whole
        several = _session(bundle, bundle.drafts.verify, threads, kernels) if bundle.drafts is not None else None
        return cls(whole, lone, several, kernels)

    def _try_a_step(self, bundle: Bundle) -> None:
        """What the kernels do not offer they say at load, or, of shapes, at the first step."""
        feeds: dict[str, Any] = {
            "features": np.zeros((1, 1, bundle.adapter.features), np.int64),
            "seqlens_k": np.zeros(1, np.int32),
            "total_len": np.ones(1, np.int32),
        }
        cache = np.zeros((1, bundle.lm.kv_heads, 1, bundle.lm.head_dim), _cache_type(self.whole))
        feeds |= {one.name: cache for one in self.whole.get_inputs() if one.name.startswith("past_")}
        try:
            self.whole.run(["code_logits"], feeds)
        except Exception as error:
            raise BundleError(f"a first step of {bundle.lm.file} fails: {error}") from error


class OnnxLm:
    """Cache slabs [slots, kv_heads, positions, head_dim] per layer, committed at once: a server that started has the
    memory for its last slot, and no step waits for the kernel to clear pages."""

    device = "cpu"

    def __init__(self, bundle: Bundle, slots: int, threads: int = 1, own_kernels: str = AUTO) -> None:
        self.inputs = StepInputs.allocate(slots, bundle.adapter.features)
        sessions = _LmSessions.load(bundle, threads, choose(own_kernels))
        self.kernels = sessions.kernels.name
        self._session, self._lone = sessions.whole, sessions.lone
        lm, positions = bundle.lm, bundle.adapter.max_steps + _SPARE_POSITIONS
        shape = (slots, lm.kv_heads, positions, lm.head_dim)
        kept = _cache_type(self._session)
        # Written to, since zeros alone would come page by page.
        self._cache = {f"{kind}{layer}": np.full(shape, 0, kept) for layer in range(lm.layers) for kind in "kv"}
        self._code_logits = np.zeros((slots, 1, bundle.codes.count), np.float32)
        self._lengths = np.zeros(slots, np.int32)
        self._longest = np.zeros(1, np.int32)
        self._bindings: OrderedDict[tuple[bool, int, int], Bound] = OrderedDict()  # see _binding; oldest use first
        self._other_half = ThreadPoolExecutor(1, thread_name_prefix="lm-half") if threads > 1 else None
        self._several = _SeveralSteps(bundle, sessions.several) if sessions.several is not None else None
        pasts, presents = [f"past_{name}" for name in self._cache], [f"present_{name}" for name in self._cache]
        _expect_names(
            lm.file, "inputs", [one.name for one in self._session.get_inputs()], [*self._feeds(0, slots), *pasts]
        )
        _expect_names(
            lm.file,
            "outputs",
            [one.name for one in self._session.get_outputs()],
            ["code_logits", *presents],
        )

    def step(self, first: int, last: int) -> FloatArray:
        past = self.inputs.past[first:last]
        self._lengths[first:last] = past
        self._longest[0] = past.max() + 1
        if self._other_half is not None and last - first >= _HALVES_FROM:
            middle = (first + last) // 2
            one, other = self._binding(first, middle, lone=True), self._binding(middle, last, lone=True)
            waiting = self._other_half.submit(self._lone.run_with_iobinding, other[0])
            try:
                self._lone.run_with_iobinding(one[0])
            finally:
                waiting.result()
        else:
            self._session.run_with_iobinding(self._binding(first, last)[0])
        return self._code_logits[first:last, 0]

    @property
    def ahead(self) -> StepInputs:
        assert self._several is not None, "only for a bundle that brings drafts"
        return self._several.inputs

    def verify(self, slot: int) -> FloatArray:
        assert self._several is not None, "only for a bundle that brings drafts"
        return self._several.run(slot, self._cache)

    def _feeds(self, first: int, last: int) -> dict[str, Any]:
        return {
            "features": self.inputs.features[first:last],
            "seqlens_k": self._lengths[first:last],
            "total_len": self._longest,
        }

    def _binding(self, first: int, last: int, lone: bool = False) -> Bound:
        """For these slots; `lone` is the session of one thread, which several may use at once."""
        found = self._bindings.get((lone, first, last))
        if found is None:
            session = self._lone if lone else self._session
            found = self._bindings[lone, first, last] = self._bind(session, first, last)
            if len(self._bindings) > _MAX_BINDINGS:
                self._bindings.popitem(last=False)
        self._bindings.move_to_end((lone, first, last))
        return found

    def _bind(self, session: ort.InferenceSession, first: int, last: int) -> Bound:
        """Every tensor is a view of one slab, so a binding serves all steps over the same slots."""
        slabs = {name: slab[first:last] for name, slab in self._cache.items()}
        outputs = {"code_logits": self._code_logits[first:last]}
        return _bind(session, self._feeds(first, last), slabs, [""], outputs)


class _SeveralSteps:
    """The LM over S steps of one row. Attention goes step by step in the graph, so the cache is S outputs."""

    def __init__(self, bundle: Bundle, session: ort.InferenceSession) -> None:
        assert bundle.drafts is not None
        steps = bundle.drafts.length + 1
        self.inputs = StepInputs.allocate(1, bundle.adapter.features, steps)
        self._session = session
        self._past, self._longest = np.zeros(1, np.int32), np.zeros(1, np.int32)
        self._code_logits = np.zeros((1, steps, bundle.codes.count), np.float32)
        self._suffixes = [f"_{step}" for step in range(steps)]
        self._bindings: dict[int, Bound] = {}  # by slot

    def run(self, slot: int, cache: dict[str, FloatArray]) -> FloatArray:
        self._past[0] = self.inputs.past[0]
        self._longest[0] = self._past[0] + 1
        binding = self._bindings.get(slot)
        if binding is None:
            feeds = {"features": self.inputs.features, "seqlens_k": self._past, "total_len": self._longest}
            slabs = {name: slab[slot : slot + 1] for name, slab in cache.items()}
            binding = self._bindings[slot] = _bind(
                self._session, feeds, slabs, self._suffixes, {"code_logits": self._code_logits}
            )
        self._session.run_with_iobinding(binding[0])
        code_logits: FloatArray = self._code_logits[0]
        return code_logits


def _bind(
    session: ort.InferenceSession,
    feeds: dict[str, Any],
    slabs: dict[str, FloatArray],
    suffixes: list[str],
    outputs: dict[str, Any],
) -> Bound:
    """Everything bound in place; each slab of the cache is an input and, under each suffix, an output."""
    binding, kept = session.io_binding(), []

    def value(array: Any) -> Any:
        kept.append(ort.OrtValue.ortvalue_from_numpy(array))
        return kept[-1]

    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, value(array))
    for name, slab in slabs.items():
        shared = value(slab)
        binding.bind_ortvalue_input(f"past_{name}", shared)
        for suffix in suffixes:
            binding.bind_ortvalue_output(f"present_{name}{suffix}", shared)
    for name, array in outputs.items():
        binding.bind_ortvalue_output(name, value(array))
    return binding, kept


class OnnxDrafts:
    """The forecast, all guesses in one graph."""

    def __init__(self, bundle: Bundle, threads: int = 1, own_kernels: str = AUTO) -> None:
        assert bundle.drafts is not None, "only for a bundle that brings drafts"
        self._kernels = choose(own_kernels)
        self.length = bundle.drafts.length
        self.inputs = DraftInputs.allocate(self.length, bundle.adapter.features, bundle.codes.count)
        self._codes = np.zeros(self.length, np.int64)
        feeds = {one.name: getattr(self.inputs, one.name) for one in fields(DraftInputs)}
        likeliest = {name: feeds[name] for name in ("code", "features")}
        self._greedy = self._bound(bundle, bundle.drafts.greedy, threads, likeliest)
        self._sampled = self._bound(bundle, bundle.drafts.sampled, threads, feeds)

    def _bound(self, bundle: Bundle, file: str, threads: int, feeds: dict[str, Any]) -> tuple[Any, Bound]:
        try:
            session = _session(bundle, file, threads, self._kernels)
        except BundleError:  # products that are not for our kernel, which gives the same bits
            session = _session(bundle, file, threads)
        _expect_names(file, "inputs", [one.name for one in session.get_inputs()], [*feeds])
        return session, _bind(session, feeds, {}, [], {"codes": self._codes})

    def propose(self, *, greedy: bool) -> IntArray:
        session, bound = self._greedy if greedy else self._sampled
        session.run_with_iobinding(bound[0])
        return self._codes


class OnnxDurations:
    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.rows = bundle.durations.rows
        self.features = np.zeros((self.rows, bundle.durations.features), np.int64)
        self.stretch = np.zeros(self.rows, np.float32)
        self._hops = np.zeros(self.rows, np.int64)
        session = _session(bundle, bundle.durations.file, threads)
        _expect_names(
            bundle.durations.file, "inputs", [one.name for one in session.get_inputs()], ["features", "stretch"]
        )
        feeds = {"features": self.features, "stretch": self.stretch}
        self._session, self._bound = session, _bind(session, feeds, {}, [], {"hops": self._hops})

    def plan(self) -> IntArray:
        self._session.run_with_iobinding(self._bound[0])
        return self._hops


class OnnxVocoder:
    def __init__(self, bundle: Bundle, threads: int = 1, own_kernels: str = AUTO) -> None:
        self._session, self.kernels = self._loaded(bundle, threads, choose(own_kernels))
        self._states = bundle.vocoder.states
        self._outputs = ["spectrum", *[f"{slot.name}_out" for slot in self._states]]
        found = [one.name for one in self._session.get_inputs()]
        wanted = ["codes", "voices", "pitch", "noise", *[slot.name for slot in self._states]]
        _expect_names(bundle.vocoder.file, "inputs", found, wanted)

    @staticmethod
    def _loaded(bundle: Bundle, threads: int, wanted: Kernels) -> tuple[ort.InferenceSession, str]:
        """The session, and the name of the kernels that it runs."""
        file = bundle.vocoder.file
        try:
            session = _session(bundle, file, threads, wanted)
        except BundleError as error:  # another geometry than our kernels offer
            if wanted.form is None:
                raise
            return _session(bundle, file, threads), Kernels(form=None, why_not=str(error)).name
        return session, (wanted if wanted.form is None or _is_folded(session) else _UNFOLDED).name

    def initial_state(self, rows: int) -> State:
        return {slot.name: np.full((rows, *slot.shape), 0, slot.dtype) for slot in self._states}

    def run(
        self, codes: IntArray, voices: FloatArray, pitch: FloatArray, noise: FloatArray, state: State
    ) -> tuple[FloatArray, State]:
        feeds = {"codes": codes, "voices": voices, "pitch": pitch, "noise": noise, **state}
        spectrum, *states = self._session.run(self._outputs, feeds)
        return spectrum, {slot.name: array for slot, array in zip(self._states, states, strict=True)}
