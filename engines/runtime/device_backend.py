"""A backend whose calls are captured: what `engines.runtime.base.Backend` has, and what a device needs besides."""

from __future__ import annotations

from typing import Protocol

from engines.runtime.base import Backend, Buffer, Call


class DeviceBackend(Backend, Protocol):
    deterministic: bool  # every call has one shape, whatever is in it: a device's bits may depend on the shape

    def buffer(self, shape: tuple[int, ...], dtype: str, *, shared: bool = False) -> Buffer:
        """Zeroed. `shared`: the host writes or reads it at every call, which then costs no copy."""
        ...

    def copy(self, source: Buffer, to: Buffer) -> None:
        """Queued: behind the calls that were launched, before any that is launched later. One of them is not shared."""
        ...

    def prepare(self, *calls: Call) -> None:
        """Before they are launched, in the thread that will launch them, with all slots free: a call that updates
        buffers in place runs three times, and these are zeroed after."""
        ...

    def clear(self, *calls: Call) -> None:
        """Zeroes the buffers that these calls update in place."""
        ...
