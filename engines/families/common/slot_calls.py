"""One graph over ranges of slots. Its tensors are views of memory that is laid out by slot, so a binding serves every
call over the same range; keys and values are updated in place.

    slots      0   1   2   3   4   5   6   7
    call           [first          last)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from engines.errors import BundleError
from engines.runtime.base import Array, Backend, Buffer, Call, Graph

_MAX_BINDINGS = 1024  # 25 kB and 80 us each
_HALVES_FROM = 8  # rows: two halves of fewer read the weights twice for too little


class KvSlabs:
    """Keys and values by layer, [slots, kv_heads, positions, head_dim] each, of the type that the graph says."""

    def __init__(
        self, backend: Backend, graph: Graph, *, slots: int, layers: int, kv_heads: int, positions: int, head_dim: int
    ) -> None:
        types = {one.name: one.dtype for one in graph.inputs}
        shape = (slots, kv_heads, positions, head_dim)
        names = [f"{kind}{layer}" for layer in range(layers) for kind in "kv"]
        self.slabs = {name: backend.buffer(shape, types.get(f"past_{name}", "float32")) for name in names}

    def named(self, suffixes: Iterable[str] = ("",)) -> dict[str, Buffer]:
        """Each slab under the names of the graph's input and outputs."""
        ends = ["past_{}", *(f"present_{{}}{suffix}" for suffix in suffixes)]
        return {end.format(name): slab for name, slab in self.slabs.items() for end in ends}

    def copy(self, source: int, target: int, positions: int) -> None:
        for slab in self.slabs.values():
            slab.copy_row(source, target, positions)

    def taken(self, row: int, positions: int) -> list[Array]:
        return taken(self.slabs.values(), row, positions)

    def put(self, row: int, kept: Iterable[Array]) -> None:
        put(self.slabs.values(), row, kept)


def taken(slabs: Iterable[Buffer], row: int, positions: int) -> list[Array]:
    """Host copies of the first positions of a row, [kv_heads, positions, head_dim] of each slab."""
    return [slab.read_row(row, positions) for slab in slabs]


def put(slabs: Iterable[Buffer], row: int, kept: Iterable[Array]) -> None:
    """What was `taken`, back into a row."""
    for slab, values in zip(slabs, kept, strict=True):
        slab.write_row(values, row)


class SlotCalls:
    def __init__(self, graph: Graph, by_slot: Mapping[str, Buffer], shared: Mapping[str, Buffer], lanes: int = 1):
        """`shared` tensors are the same in every call. With lanes a large range goes as two halves at once."""
        self._graph, self._by_slot, self._shared, self._lanes = graph, by_slot, shared, lanes
        self._calls: OrderedDict[tuple[int, int, int | None], Call] = OrderedDict()  # oldest use first
        if lanes > 1:
            self._call(0, 1, 0)  # loads what lanes need now, and not while streams wait

    def run(self, first: int, last: int) -> None:
        """Over [first, last), to its end."""
        if self._lanes > 1 and last - first >= _HALVES_FROM:
            middle = (first + last) // 2
            calls = [self._call(middle, last, 1), self._call(first, middle, 0)]
        else:
            calls = [self._call(first, last, None)]
        for call in calls:
            call.launch()
        for call in calls:
            call.wait()

    def _call(self, first: int, last: int, lane: int | None) -> Call:
        key = (first, last, lane)
        call = self._calls.get(key)
        if call is None:
            views = {name: buffer.rows(first, last) for name, buffer in self._by_slot.items()}
            call = self._calls[key] = self._graph.bind({**views, **self._shared}, lane=lane)
            if len(self._calls) > _MAX_BINDINGS:
                self._calls.popitem(last=False)
        self._calls.move_to_end(key)
        return call


def ranges(slots: Collection[int], most_idle: int) -> list[tuple[int, int]]:
    """[first, last) over `slots`, disjoint and rising: neighbours are joined over at most so many others, whose rows
    cost less than another call.

        slots    0 1 . 3 . . . . . . 10 .  12        . = not wanted
        ranges  [0       4)         [10      13)     a gap of at most 3
    """
    found: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if found and slot - found[-1][1] <= most_idle:
            found[-1] = (found[-1][0], slot + 1)
        else:
            found.append((slot, slot + 1))
    return found


def groups(
    slots: Sequence[int], others: Sequence[int], most_idle: int, row_of: Callable[[int], int] = int
) -> list[list[int]]:
    """`Talker.groups` where slots lie in rows of one memory, and a call takes a range of them."""
    place, by_row = {slot: at for at, slot in enumerate(slots)}, {row_of(slot): slot for slot in (*others, *slots)}
    spans = ranges([row_of(slot) for slot in slots], most_idle)
    found = [[by_row[row] for row in range(first, last) if row in by_row] for first, last in spans]
    return sorted(found, key=lambda group: min(place.get(slot, len(place)) for slot in group))


def expect_names(file: str, graph: Graph, inputs: Iterable[str], outputs: Iterable[str] | None = None) -> None:
    """Raises BundleError where the graph has other ends than the manifest asks for."""
    for kind, found, wanted in (("inputs", graph.inputs, inputs), ("outputs", graph.outputs, outputs)):
        names = sorted(one.name for one in found)
        if wanted is not None and names != sorted(wanted):
            raise BundleError(f"{file} has {kind} {names}, the manifest asks for {sorted(wanted)}")
