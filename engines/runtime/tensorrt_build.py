"""Builds a TensorRT plan of one ONNX graph, for the GPU of this machine. Takes the module, so that its sibling for RTX
devices, which builds without a GPU, can be held to the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import BundleError
from engines.runtime.tensorrt import logger

Shape = tuple[int, ...]
Range = tuple[int, int, int]  # least, best, most
Progress = Callable[[str, float], None]  # of a build: the phase, and how much of it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    content: memoryview
    layers: Counter[str]  # as parsed, by kind
    cache: bytes  # what was timed, for the next build


def build(
    trt: Any,
    model: Path,
    shapes: Mapping[str, tuple[int | str, ...]],
    profiles: Sequence[Mapping[str, Range]],
    *,
    decomposable: bool = False,
    cache: bytes = b"",
    progress: Progress = lambda phase, share: None,
) -> Plan:
    """`model`: a file, large weights beside it. `shapes`: of the inputs, a name standing for an axis that `profiles`
    bound. `decomposable`: attention without a kernel of its own becomes several. Raises BundleError in TensorRT's own
    words, also where it would leave an input unread: it then builds what is not meant."""
    log = logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(model)):
        raise BundleError("; ".join(parser.get_error(at).desc() for at in range(parser.num_errors)))
    _check(log)
    kinds = (str(network.get_layer(at).type).rsplit(".", 1)[-1] for at in range(network.num_layers))
    layers, config = Counter(kinds), builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # set by default: float32 parts want float32
    for at in range(network.num_layers if decomposable else 0):
        layer = network.get_layer(at)
        if layer.type == trt.LayerType.ATTENTION_OUTPUT:
            layer.__class__ = trt.IAttentionOutputLayer
            layer.attention.decomposable = True
    for ranges in profiles:
        profile = builder.create_optimization_profile()
        for name, shape in shapes.items():
            if any(isinstance(axis, str) for axis in shape):
                profile.set_shape(name, *(_filled(shape, ranges, at) for at in range(3)))
        config.add_optimization_profile(profile)
    timings = config.create_timing_cache(cache)  # lives until the plan is built
    config.set_timing_cache(timings, False)
    config.progress_monitor = _monitor(trt, progress)
    content = builder.build_serialized_network(network, config)
    _check(log)
    if content is None:
        raise BundleError(f"TensorRT builds no plan: {'; '.join(log.heard[-3:]) or 'it does not say why'}")
    return Plan(content=memoryview(content), layers=layers, cache=bytes(timings.serialize()))


def _check(log: Any) -> None:
    if unread := [text for text in log.heard if "Unused Input" in text]:
        raise BundleError(f"TensorRT would leave an input unread: {unread[0]}")


def _filled(shape: tuple[int | str, ...], ranges: Mapping[str, Range], at: int) -> Shape:
    return tuple(ranges[axis][at] if isinstance(axis, str) else axis for axis in shape)


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases nest; the outermost one is told."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = max(num_steps, 1)
                progress(phase_name, 0.0)

        def phase_finish(self, phase_name: str) -> None:
            if self._steps.pop(phase_name, None) is not None:
                progress(phase_name, 1.0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                progress(phase_name, min(1.0, (step + 1) / self._steps[phase_name]))
            return True

    return Monitor()
