"""CUDA graphs: capture once, replay for the price of one launch.

A captured call must read and write fixed addresses only. It runs a few times on a side stream first, because the first
calls allocate workspaces and pick algorithms, which a capture may not do.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from loadtests.gpu.timing import Call


@dataclass(frozen=True, slots=True)
class Captured:
    graph: torch.cuda.CUDAGraph
    nodes: int | None  # None where this torch does not hand out the raw graph

    def replay(self) -> None:
        self.graph.replay()


def capture(call: Call, warmups: int = 2) -> Captured:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warmups):
            call()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph, is_kept = _new_graph()
    with torch.cuda.graph(graph):
        call()
    nodes = None
    if is_kept:
        nodes = _count_nodes(graph)
        graph.instantiate()
    graph.replay()
    torch.cuda.synchronize()
    return Captured(graph, nodes)


def _new_graph() -> tuple[torch.cuda.CUDAGraph, bool]:
    try:
        return torch.cuda.CUDAGraph(keep_graph=True), True
    except TypeError:  # before torch 2.8
        return torch.cuda.CUDAGraph(), False


def _count_nodes(graph: torch.cuda.CUDAGraph) -> int | None:
    """Asks the driver; the count serves where the profiler sees no kernels."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_size_t(0)
    status = driver.cuGraphGetNodes(ctypes.c_void_p(graph.raw_cuda_graph()), None, ctypes.byref(count))
    return int(count.value) if status == 0 else None
