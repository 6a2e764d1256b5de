"""As much of torch as part 9 asks for, for its rehearsal without torch and without a GPU."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

__version__ = "pretended"
bfloat16 = "bfloat16"
cuda = SimpleNamespace(is_available=lambda: True, empty_cache=lambda: None)


class Generator:
    def __init__(self) -> None:
        self.random = random.Random()

    def manual_seed(self, seed: int) -> Generator:
        self.random.seed(seed)
        return self


class _Ids:
    def __init__(self, rows: list[list[int]]) -> None:
        self._rows = rows

    def tolist(self) -> list[list[int]]:
        return self._rows


def device(name: str) -> AbstractContextManager[None]:
    return nullcontext()


def randint(low: int, high: int, size: tuple[int, int], generator: Generator) -> _Ids:
    rows, columns = size
    return _Ids([[generator.random.randrange(low, high) for _ in range(columns)] for _ in range(rows)])
