"""JSON logs: one event name and its fields a line. Texts are redacted unless asked for.

Lines are written by a thread of their own, so that no disk that is full and no reader that reads nothing stops speech.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
from typing import Any, Self

import structlog

_MOST_UNWRITTEN = 10_000  # lines; those beyond are lost
_LAST_WORDS_S = 1.0


class LineWriter:
    """structlog's logger: takes lines at once, and never raises."""

    def __init__(self, file: int | None) -> None:
        """A descriptor; None: there is none to write to, as with `2>&-`."""
        self._file, self.lost = file, 0
        self._lines = queue.Queue[str | None](_MOST_UNWRITTEN)
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def __call__(self, *_: Any) -> Self:
        return self

    def msg(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.lost += 1

    debug = info = warning = error = critical = msg

    def close(self, within_s: float = _LAST_WORDS_S) -> None:
        """What is there is written, as far as it is read."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(within_s)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            lost, self.lost = self.lost, 0
            told = f'{{"event": "log_lines_lost", "lines": {lost}, "level": "warning"}}\n' if lost else ""
            if not self._write(f"{told}{line}\n".encode(errors="backslashreplace")):
                self.lost += lost + 1

    def _write(self, text: bytes) -> bool:
        """Past Python's own buffer, which keeps what it could not write."""
        try:
            while text and self._file is not None:
                text = text[os.write(self._file, text) :]
        except OSError:  # full, or closed
            return False
        return True


class Foreign(logging.Handler):
    """What libraries log, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            told = {"name": record.name, "message": record.getMessage(), "exc_info": record.exc_info or None}
            get_logger().error("library", **told)
        except Exception:  # of the call that was logged, which goes on
            self.handleError(record)


def configure(*, json: bool) -> None:
    renderer = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    writer = LineWriter(None if sys.stderr is None else sys.stderr.fileno())
    atexit.register(writer.close)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=writer,
    )
    logging.basicConfig(handlers=[Foreign()], level=logging.ERROR, force=True)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def redacted(text: str, *, keep: bool) -> str:
    return text if keep else f"<{len(text)} characters>"
