"""Voices added to a bundle: files NAME.npz in a folder, arrays of the model's family and facts of the recording.

A file is there whole or not at all; what its arrays mean is the family's.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import BadParameter, BundleError
from engines.messages import Submit

_REST_BYTES = 2**16  # of a file, besides its arrays: names, what is known of the recording
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ABOUT = "about"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class VoiceFile:
    arrays: Arrays
    about: Mapping[str, Any]  # created_s, seconds, uses_text, consent: as far as it is known
    digest: str  # of the arrays: what the voice sounds like
    content: bytes


def packed(arrays: Arrays, about: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    told = np.frombuffer(json.dumps(dict(about)).encode(), np.uint8)
    every: dict[str, Any] = {**arrays, _ABOUT: told}
    np.savez(file, **every)
    return file.getvalue()


def unpacked(content: bytes) -> VoiceFile:
    """Raises BundleError."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays: dict[str, NDArray[Any]] = {name: file[name] for name in sorted(file.files)}
        about = dict(json.loads(arrays.pop(_ABOUT).tobytes())) if _ABOUT in arrays else {}
    except Exception as error:  # of zipfile, zlib, numpy and json, which have no common type
        raise BundleError(f"it is no readable voice: {error}") from error
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return VoiceFile(arrays=arrays, about=about, digest=found.hexdigest(), content=content)


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadParameter(f"voice name {name[:80]!r} must be 1 to 64 of a-z, 0-9, - and _, a letter or digit first")
    return name


def check_same_voice(submit: Submit, digest: str) -> None:
    """`digest`: of the voice that has its name now. Raises BadParameter for an utterance that goes on with another."""
    if submit.heard_samples and submit.voice_digest not in ("", digest):
        raise BadParameter(f"voice {submit.voice!r} was replaced while it spoke; start again")


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.npz") if _NAME.fullmatch(path.stem))


def read(folder: Path, name: str, arrays_bytes: int) -> VoiceFile:
    """`arrays_bytes`: the most that a voice's arrays take. Raises BundleError, or OSError where the file is gone."""
    most = arrays_bytes + _REST_BYTES
    with (folder / f"{name}.npz").open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BundleError(f"it has more than {most} bytes, which no voice of this model has")
    return unpacked(content)


def write(folder: Path, name: str, content: bytes) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{check_name(name)}.partial"
    partial.write_bytes(content)
    os.replace(partial, folder / f"{name}.npz")


def remove(folder: Path, name: str) -> None:
    """Raises OSError; BadParameter where there is none of that name."""
    try:
        (folder / f"{check_name(name)}.npz").unlink()
    except FileNotFoundError as error:
        there = ", ".join(names(folder)) or "none"
        raise BadParameter(f"there is no added voice {name!r}; there are: {there}") from error
