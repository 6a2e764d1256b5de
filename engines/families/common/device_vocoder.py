"""Vocoders on a device, behind the Vocoder Protocol: their thread, and a decoder that makes a frame of each row a call.

State is by slot on the device. Rows that fill up a bucket read and write a slot of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engines.families.base import BoolArray, Controls, Frames, Pending, Sound
from engines.families.common.device_calls import buckets, prepare
from engines.runtime.base import Array, Buffer, Call, FloatArray, IntArray
from engines.runtime.device_backend import DeviceBackend


class Finish(Protocol):
    """What becomes of the samples of a slot on the host."""

    def begin(self, slot: int, control: Controls) -> None: ...

    def made(self, slot: int, samples: FloatArray) -> FloatArray: ...

    def end(self, slot: int) -> FloatArray:
        """What is still held back."""
        ...

    def swap_out(self, slot: int) -> object: ...

    def swap_in(self, slot: int, kept: Any) -> None: ...


class _Result:
    def __init__(self, future: Future[Sound]) -> None:
        self._future = future

    def wait(self) -> Sound:
        return self._future.result()


class VocoderThread:
    """Makes the calls of a vocoder: a device's captured calls belong to one thread, and jobs come from several."""

    cost = 1.0  # of its one shape over the smallest, where all calls have one

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vocoder-device")

    def warm_up(self) -> None:
        self.cost = self._thread.submit(self._prepare).result()

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        return _Result(self._thread.submit(self._run, slots, frames, first_frames, seeds, controls, is_last))

    def _prepare(self) -> float:
        """Captures all calls. -> cost"""
        raise NotImplementedError

    def _run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Any],
        is_last: BoolArray,
    ) -> Sound:
        raise NotImplementedError


class DeviceVocoder(VocoderThread):
    def __init__(
        self,
        path: Path,
        backend: DeviceBackend,
        slots: int,
        *,
        states: Mapping[str, tuple[int, ...]],
        frames: str,
        place: str,
        place_step: int,
        samples: str,
        finish: Finish,
    ) -> None:
        """`frames`, `place` and `samples` are names of the graph's ends; a frame's place rises by `place_step`."""
        super().__init__()
        (self._graph,) = backend.graphs(path)
        self.kernels, self.arithmetic = self._graph.kernels, backend.arithmetic(self._graph.kernels)
        self._backend, self._spare, one = backend, slots, backend.deterministic
        self._buckets = buckets(slots, one=one)
        self._finish, self._place_step = finish, place_step
        self._states = {name: backend.buffer((slots + 1, *shape), "float32") for name, shape in states.items()}
        ends = {one.name: one for one in (*self._graph.inputs, *self._graph.outputs)}
        shapes = {name: ends[name].shape[1:] for name in (frames, place, samples, "slots", "scores")}
        self._rows: dict[str, Buffer] = {
            name: backend.buffer((slots, *map(int, shape)), ends[name].dtype, shared=True)
            for name, shape in shapes.items()
        }
        self._frames, self._place, self._samples = self._rows[frames], self._rows[place], self._rows[samples]
        self._calls: dict[int, Call] = {rows: self._graph.bind(self._bound(rows)) for rows in self._buckets}
        self._smallest = self._graph.bind(self._bound(1)) if one else None

    def _bound(self, rows: int) -> dict[str, Buffer]:
        states = {f"{name}{end}": state for name, state in self._states.items() for end in ("", "_out")}
        return states | {name: buffer.rows(0, rows) for name, buffer in self._rows.items()}

    def _prepare(self) -> float:
        return prepare(self._backend, self._calls.values(), self._smallest)

    def swap_out(self, slot: int) -> object:
        return self._thread.submit(self._taken, slot).result()

    def _taken(self, slot: int) -> object:
        return self._finish.swap_out(slot), [np.array(one.read(slot, slot + 1)) for one in self._states.values()]

    def swap_in(self, slot: int, kept: Any) -> None:
        self._thread.submit(self._put, slot, *kept).result()

    def _put(self, slot: int, finish: object, states: Sequence[Array]) -> None:
        self._finish.swap_in(slot, finish)
        for state, values in zip(self._states.values(), states, strict=True):
            state.write(values, slot)

    def _run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Any],
        is_last: BoolArray,
    ) -> Sound:
        for slot, first, control in zip(slots.tolist(), first_frames.tolist(), controls, strict=True):
            if first == 0:
                self._finish.begin(slot, control)
                for state in self._states.values():
                    state.rows(slot, slot + 1).clear()
        pieces: list[list[FloatArray]] = [[np.zeros(0, np.float32)] for _ in slots]
        is_finite, rows = np.ones(len(slots), np.bool_), len(slots)
        covered = next(bucket for bucket in self._buckets if bucket >= rows)
        self._rows["slots"].write(np.concatenate([slots, np.full(covered - rows, self._spare)]))
        for at in range(frames.shape[1]):
            self._frames.write(frames[:, at].reshape(rows, *self._frames.shape[1:]))
            self._place.write((first_frames + at) * self._place_step)
            call = self._calls[covered]
            call.launch()
            call.wait()
            is_finite &= np.isfinite(self._rows["scores"].read(0, rows))
            for slot, samples, piece in zip(slots.tolist(), self._samples.read(0, rows), pieces, strict=True):
                piece.append(self._finish.made(slot, samples.reshape(-1).copy()))
        for slot, last, piece in zip(slots.tolist(), is_last.tolist(), pieces, strict=True):
            if last:
                piece.append(self._finish.end(slot))
        return Sound([np.concatenate(piece) for piece in pieces], is_finite)
