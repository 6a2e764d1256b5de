"""A CUDA device that is none: "cuda" means the CPU, a graph captures nothing, a replay does nothing.

It lets the branches that only a GPU takes run once wherever the tests run, so that a first run on a GPU does not fail
on a misspelt name. It proves nothing about CUDA, and no number measured under it means anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode


class OnCpu(TorchFunctionMode):
    """Sends every tensor that is asked for on "cuda" to the CPU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = {name: _on_cpu(value) for name, value in (kwargs or {}).items() if name != "pin_memory"}
        return func(*(_on_cpu(value) for value in args), **named)


def _on_cpu(value: Any) -> Any:
    return "cpu" if isinstance(value, str) and value == "cuda" else value


class Event:
    def __init__(self, enable_timing: bool = False) -> None:
        self.at_s = 0.0

    def record(self) -> None:
        self.at_s = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, later: Event) -> float:
        return 1e3 * (later.at_s - self.at_s)


class Stream:
    cuda_stream = 4096

    def wait_stream(self, other: Stream) -> None:
        assert isinstance(other, Stream)


class Graph:
    """Counts what is done to it, in the order that a real one demands."""

    made: list[Graph]

    def __init__(self, keep_graph: bool = False) -> None:
        self.is_captured = self.is_ready = False
        self.replays = 0
        self.made.append(self)

    def raw_cuda_graph(self) -> int:
        assert self.is_captured
        return 0

    def instantiate(self) -> None:
        assert self.is_captured
        self.is_ready = True

    def replay(self) -> None:
        assert self.is_ready
        self.replays += 1


@contextmanager
def capturing(graph: Graph) -> Iterator[None]:
    yield
    graph.is_captured = True


@contextmanager
def on_stream(stream: Stream) -> Iterator[None]:
    yield


def pretend(patch: pytest.MonkeyPatch) -> type[Graph]:
    graphs = type("Graphs", (Graph,), {"made": []})
    real = torch.Generator

    class Generator:  # a class, because torch names it in annotations that it reads late
        def __new__(cls, device: Any = "cpu") -> Any:
            return real(device=_on_cpu(device))

    patch.setattr(torch, "Generator", Generator)
    patch.setattr(torch, "compile", lambda function, **settings: function)
    for name, value in {
        "CUDAGraph": graphs, "Event": Event, "Stream": Stream, "graph": capturing, "stream": on_stream,
        "current_stream": Stream, "synchronize": lambda: None,
        "get_device_properties": lambda index: SimpleNamespace(total_memory=2**37, multi_processor_count=132),
    }.items():  # fmt: skip
        patch.setattr(torch.cuda, name, value)
    return graphs
