"""Compiles and loads `recorder.cpp`, before the CUDA runtime, and reads what it wrote down."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from engines.runtime.device import load_libraries
from tests.dry_cuda.log import Log
from tests.gpu_check.setting import Skipped

SOURCE = Path(__file__).with_name("recorder.cpp")
_FLAGS = "-std=c++17 -O1 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden".split()


@cache
def record() -> Log:
    """From here on all that the CUDA provider asks of its device. Before anything loads the CUDA libraries."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise Skipped("no g++ to compile the recorder with")
    library = Path(
        tempfile.gettempdir(), f"parlando-recorder-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    )
    if not library.exists():
        fresh = library.with_suffix(".new")
        done = subprocess.run(
            [compiler, *_FLAGS, str(SOURCE), "-o", str(fresh), "-ldl", "-pthread"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Skipped(f"the recorder cannot be compiled: {done.stderr[-300:]}")
        fresh.replace(library)
    recorder = ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    load_libraries()
    path = Path(tempfile.mkdtemp(prefix="gpu-check-"), "log")
    path.touch()
    recorder.recorder_open(str(path).encode())
    return Log(path)
