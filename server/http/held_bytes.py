"""What answers of known length hold in memory, in all and each. Bounded in all."""

from __future__ import annotations

from server.errors import ApiError


class Memory:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0


class HeldBytes:
    """Of one answer."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._bytes = memory, 0

    def add(self, num_bytes: int) -> None:
        """Raises ApiError beyond what all may hold."""
        memory = self._memory
        if memory.held_bytes + num_bytes > memory.limit_bytes:
            message = f"answers of known length hold {memory.held_bytes} bytes, the limit is {memory.limit_bytes}"
            raise ApiError("overloaded", f"{message}; stream, or come back in a moment", retry_after_s=1)
        self._bytes += num_bytes
        memory.held_bytes += num_bytes

    def release(self) -> None:
        """Safe to call twice."""
        self._memory.held_bytes -= self._bytes
        self._bytes = 0
