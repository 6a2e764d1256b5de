"""bfloat16 or float32 under autocast: whichever this machine is quicker with, by a measurement of a second.

With bfloat16 in hardware a step is up to twice as fast; without, up to nine times slower. No list of processors
decides, and networks are measured apart, since linear layers and convolutions differ too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

PROBE_S = 1.0
PROBED_ROWS = 2  # of a batch of crops: as telling as all of them, where one arithmetic takes nine times as long
_FEWEST = 2  # runs of each, whatever they take
_HOPELESS = 4.0  # times float32's time: not measured again, a round may take half a minute
_WORTH_IT = 0.95  # of float32's time: near a tie the more exact one is kept


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What linear layers and convolutions compute in; spectra, quantiser and losses stay in float32."""

    dtype: torch.dtype = torch.float32

    def on(self, device: str = "cpu") -> AbstractContextManager[object]:
        return torch.autocast(device, torch.bfloat16, enabled=self.dtype is torch.bfloat16)


FLOAT32, BFLOAT16 = Arithmetic(torch.float32), Arithmetic(torch.bfloat16)


def quicker(
    what: str,
    run: Callable[[], Tensor],
    device: str = "cpu",
    clock: Callable[[], float] | None = None,
    seconds: float = PROBE_S,
) -> Arithmetic:
    """`run` is a forward pass of the network in question; its backward pass is measured with it.

    On a CPU processor time is counted, since other work on the machine is not this network's; rounds alternate and
    the least counts. Leaves no gradients behind that a training step would not clear, and draws nothing from the
    random state.
    """
    clock = clock or (time.process_time if device == "cpu" else time.perf_counter)
    least = {FLOAT32: float("inf"), BFLOAT16: float("inf")}
    started, rounds, hopeless = clock(), 0, False
    with torch.random.fork_rng():
        while rounds <= _FEWEST or clock() - started < seconds:
            for arithmetic in least:
                if arithmetic is BFLOAT16 and hopeless:
                    continue
                before = clock()
                with arithmetic.on(device):
                    found = run()
                found.float().sum().backward()  # type: ignore[no-untyped-call]
                if device != "cpu":
                    torch.cuda.synchronize()
                # The first round also allocates and compiles: it only tells what is beyond hope.
                least[arithmetic] = clock() - before if rounds < 2 else min(least[arithmetic], clock() - before)
            hopeless = hopeless or least[BFLOAT16] > max(seconds, _HOPELESS * least[FLOAT32])
            rounds += 1
    ratio = least[BFLOAT16] / least[FLOAT32]
    chosen = BFLOAT16 if ratio < _WORTH_IT else FLOAT32
    # On standard error: a run prints its progress on standard output.
    print(
        f"arithmetic of {what}: {chosen.dtype}; bfloat16 takes {ratio:.2f} times as long as float32",
        file=sys.stderr,
        flush=True,
    )
    return chosen
