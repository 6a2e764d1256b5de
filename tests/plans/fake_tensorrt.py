"""A TensorRT in plain Python with the rules of the real one, as far as we use it.

A plan is the ONNX graph itself; a context computes it by the CPU provider over its addresses, when its stream runs.

Inputs outside a profile are refused, only caches are updated in place, and every tensor needs an address. A context
works in memory that it is given, and leaves it spoilt. Lengths of an attention are dropped with a warning while a plan
is built, as NVIDIA's parser does.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx

from engines.runtime.onnx_cuda import _ELEMENTS
from engines.runtime.ort import ort
from tests.dry_cuda.fake_device import FakeDevice

_MARK = b"\0fake plan\0"
_TYPES = {1: "float32", 10: "float16", 7: "int64", 6: "int32", 9: "bool"}


class Severity:
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        pass


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class BuilderFlag:
    TF32 = "TF32"


class FakeTensorRt:
    BuilderFlag = BuilderFlag
    """As the module `tensorrt`."""

    __version__ = "11.4.0.106"
    ILogger, IProgressMonitor = ILogger, IProgressMonitor
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
    TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")
    float32, float16, int64, int32, bool, bfloat16 = "float32", "float16", "int64", "int32", "bool", "bfloat16"

    def __init__(self, device: FakeDevice) -> None:
        self.device = device

    def Builder(self, log: Any) -> Builder:  # noqa: N802
        return Builder(log)

    def OnnxParser(self, network: Any, log: Any) -> Parser:  # noqa: N802
        return Parser(network)

    def Runtime(self, log: Any) -> Runtime:  # noqa: N802
        return Runtime(self, log)


class Builder:
    def __init__(self, log: Any) -> None:
        self._log = log

    def create_network(self, flags: int) -> SimpleNamespace:
        return SimpleNamespace(model=None, num_layers=0)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> dict[str, Any]:
        return Profile()

    def build_serialized_network(self, network: Any, config: Any) -> bytes:
        for node in network.model.graph.node:
            if node.op_type == "Attention" and any(node.input[6:]):
                self._log.log(Severity.WARNING, f"Unused Input: {node.input[6]}")
        assert not config.flags, "float32 parts run in float32"
        config.progress_monitor.phase_start("Building", None, 2)
        for step in range(2):
            assert config.progress_monitor.step_complete("Building", step)
        config.progress_monitor.phase_finish("Building")
        return bytes(network.model.SerializeToString()) + _MARK + json.dumps(config.profiles).encode()


class Profile(dict[str, Any]):
    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        assert all(low <= middle <= high for low, middle, high in zip(least, best, most, strict=True)), name
        self[name] = (least, most)


class Config:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}  # as TensorRT has it
        self.profiles: list[Any] = []
        self.progress_monitor: Any = None

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: content + b"timed ")

    def set_timing_cache(self, cache: SimpleNamespace, ignores: bool) -> bool:
        return True


class Parser:
    num_errors = 0

    def __init__(self, network: Any) -> None:
        self._network = network

    def parse_from_file(self, path: str) -> bool:
        self._network.model = onnx.load(Path(path))
        return True


class Runtime:
    def __init__(self, trt: FakeTensorRt, log: Any) -> None:
        self._trt, self._log = trt, log

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        if _MARK not in content:
            self._log.log(Severity.ERROR, "the magic tag does not match")
            return None
        return Engine(self._trt, self._log, *content.split(_MARK))


class Engine:
    def __init__(self, trt: FakeTensorRt, log: Any, model: bytes, profiles: bytes) -> None:
        self.trt, self.log, self.profiles = trt, log, json.loads(profiles)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = onnx.load_model_from_string(model).graph
        self.types = {one.name: _TYPES[one.type.tensor_type.elem_type] for one in (*graph.input, *graph.output)}
        self.inputs = [one.name for one in graph.input]
        self._names = [*self.inputs, *(one.name for one in graph.output)]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, at: int) -> str:
        return self._names[at]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self.inputs else "output"

    def get_tensor_dtype(self, name: str) -> str:
        return self.types[name]

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return name.replace("present", "past") if name.startswith("present") else None

    def create_execution_context(self, strategy: str) -> Context:
        assert strategy == "user managed"
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._profile = engine, 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory: tuple[int, int] | None = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._profile = profile
        return profile < max(1, len(self._engine.profiles))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        ranges = self._engine.profiles[self._profile] if self._engine.profiles else {}
        if name not in ranges:
            return True
        least, most = ranges[name]
        fits = len(shape) == len(least) and all(
            low <= one <= high for low, one, high in zip(least, shape, most, strict=True)
        )
        if not fits:
            self._engine.log.log(Severity.ERROR, f"{name}: {list(shape)} is not within {least} and {most}")
        return fits

    def update_device_memory_size_for_shapes(self) -> int:
        return 256 * max(shape[0] for shape in self._shapes.values() if shape)

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= self.update_device_memory_size_for_shapes()
        self._memory = address, size

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        engine, addresses = self._engine, dict(self._addresses)
        missing = {engine.get_tensor_name(at) for at in range(engine.num_io_tensors)} - addresses.keys()
        if missing:
            engine.log.log(Severity.ERROR, f"no address for {sorted(missing)}")
            return False
        aliased = {
            addresses[name]: engine.get_aliased_input_tensor(name) for name in addresses.keys() - {*engine.inputs}
        }
        for name in engine.inputs:  # what is read and written without being declared so is undefined
            assert aliased.get(addresses[name], name) == name, f"{name} is written by another tensor"
        if self._memory is None:
            engine.log.log(Severity.ERROR, "no device memory was set")
            return False
        shapes, memory = dict(self._shapes), self._memory
        engine.trt.device.enqueue(stream, lambda: self._run(addresses, shapes, memory))
        return True

    def _run(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]], memory: tuple[int, int]) -> None:
        """Outputs' lengths follow from the inputs'; the CPU provider is told where inputs and outputs lie."""
        engine, binding = self._engine, self._engine.session.io_binding()
        ctypes.memset(memory[0], 0xFF, memory[1])
        for name in engine.inputs:
            binding.bind_input(name, "cpu", 0, _ELEMENTS[engine.types[name]], list(shapes[name]), addresses[name])
        lengths: dict[str, int] = {}
        for one in engine.session.get_inputs():
            lengths |= {
                axis: size for axis, size in zip(one.shape, shapes[one.name], strict=True) if isinstance(axis, str)
            }
        for one in engine.session.get_outputs():
            shape = [lengths.get(axis, 0) if isinstance(axis, str) else axis for axis in one.shape]
            if one.name == "state_out":  # named axes of outputs that are inputs' too
                shape = list(shapes["state"])
            binding.bind_output(one.name, "cpu", 0, _ELEMENTS[engine.types[one.name]], shape, addresses[one.name])
        engine.session.run_with_iobinding(binding)
