"""`parlando say`: one text, spoken in this process, into a WAV file or to a player.

What can be known to fail is known before the first word: where the file goes, and that there is a player.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engines.engine import Engine
from engines.errors import ParlandoError
from engines.messages import Finished, Submit
from engines.synth import speak, stream
from server.audio import Resampler, wav_header
from server.audio.stretch import TimeStretch, split_speed

_PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("play", "-q"),
    ("afplay",),
    ("ffplay", "-nodisp", "-autoexit", "-v", "error"),
)


class CannotWrite(ParlandoError):
    """Names the file and what is in the way."""


class CannotPlay(ParlandoError):
    """No player, or it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    wav: bytes
    audio_s: float
    first_s: float  # from the text to the first sound
    spent_s: float


def say(engine: Engine, submit: Submit, text: str, *, speed: float, rate_hz: int) -> Spoken:
    """As the server speaks it; `rate_hz` and `speed` may lie beyond what the speech model makes by itself."""
    speak(engine, "Warm up.")
    model_speed, tempo = split_speed(speed, engine.spec.speeds)
    resampler, stretch, parts = Resampler(rate_hz, submit.sample_rate_hz), TimeStretch(rate_hz, tempo), list[bytes]()
    first_s, started_s = 0.0, time.perf_counter()
    for event in stream(engine, submit.asking(speed=None if model_speed == 1.0 else model_speed), text):
        if isinstance(event, Finished):
            break
        first_s = first_s or time.perf_counter() - started_s
        parts.append(stretch.feed(resampler.feed(event.pcm)))
    parts.append(stretch.feed(resampler.feed(b"", last=True), last=True))
    spent_s = time.perf_counter() - started_s
    pcm = b"".join(parts)
    return Spoken(
        wav=wav_header(rate_hz, len(pcm)) + pcm, audio_s=len(pcm) / 2 / rate_hz, first_s=first_s, spent_s=spent_s
    )


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears whole when the block ends well; else what was there before stays.

    Raises CannotWrite, at once where that can be known.
    """
    path = path.resolve()
    with _explained(path):
        if path.is_dir():
            raise CannotWrite(f"cannot write {path}: it is a folder")
        if not path.parent.is_dir():
            raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}")
        if path.exists() and not path.is_file():  # a device or a pipe: written to, never replaced
            with path.open("wb") as file:
                yield file
            return
        if path.suffix.lower() != ".wav":
            raise CannotWrite(f"cannot write {path}: the file is a WAV file, so its name ends with .wav")
        if path.exists():
            path.open("ab").close()  # a read-only file would be replaced, too
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("xb") as file:
                yield file
            part.replace(path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def player() -> tuple[str, ...]:
    """The command of the first player that is installed."""
    for command in _PLAYERS:
        if shutil.which(command[0]):
            return command
    raise CannotPlay(f"no player found; install one of {', '.join(one[0] for one in _PLAYERS)}, or use -o FILE")


def play(command: tuple[str, ...], wav: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(wav)
        file.flush()
        status = subprocess.run([*command, file.name], check=False).returncode
    if status:
        raise CannotPlay(f"{command[0]} ended with {status} and may not have played it")
