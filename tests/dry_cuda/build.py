"""Compiles the pretended CUDA libraries with g++: python tests/dry_cuda/build.py OUT INCLUDE."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "libraries"
RUNTIME = "libcudart.so.13"
# Each library's file name, which is its soname and the version of its symbols too, and its sources.
LIBRARIES = {
    RUNTIME: ["device.cpp", "runtime_device.cpp", "runtime_launch.cpp", "runtime_memory.cpp", "runtime_streams.cpp"],
    "libcublas.so.13": ["cublas.cpp"],
    "libcublasLt.so.13": ["cublaslt.cpp"],
    "libcurand.so.10": ["curand.cpp"],
    "libcuda.so.1": ["driver.cpp"],
}
_VERSIONED = (RUNTIME, "libcublas.so.13", "libcublasLt.so.13")
_NEEDS_RUNTIME = ("libcublas.so.13", "libcublasLt.so.13", "libcuda.so.1")
_WARNINGS = "-Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers"
_FLAGS = f"-std=c++17 -O1 -g -fPIC -shared -fvisibility=hidden {_WARNINGS}".split()


def build(out: Path, include: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, sources in LIBRARIES.items():
        extra = [f"-Wl,-soname,{name}"]
        if name in _VERSIONED:
            versions = out / f"{name}.map"
            versions.write_text(f"{name} {{ global: *; }};\n")
            extra.append(f"-Wl,--version-script={versions}")
        if name in _NEEDS_RUNTIME:
            extra += [f"-L{out}", f"-l:{RUNTIME}"]
        files = [str(SOURCES / source) for source in sources]
        command = ["g++", *_FLAGS, f"-I{include}", *files, "-o", str(out / name), *extra, "-pthread"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
