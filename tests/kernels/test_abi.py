"""The part of ONNX Runtime's C interface that we wrote down, against the official header where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import engines.runtime

KERNELS = Path(engines.runtime.__file__).parent / "cpu_kernels"
HEADERS = (Path("/usr/include/onnxruntime/onnxruntime_c_api.h"), Path("/usr/include/onnxruntime_c_api.h"))
CHECK = """
#include <stddef.h>
#include "{official}"
#define ORT_PLACED(function, place) \
    _Static_assert(offsetof(struct OrtApi, function) == (place) * sizeof(void *), #function);
{functions}
"""


def test_places_agree_with_the_official_header(tmp_path: Path) -> None:
    official = next((one for one in HEADERS if one.is_file()), None)
    compiler = shutil.which("cc")
    if official is None or compiler is None:
        pytest.skip("it wants a C compiler and Debian's libonnxruntime-dev")
    lines = (KERNELS / "ort_abi.h").read_text().splitlines()
    places = [line.strip(" \\") for line in lines if line.strip().startswith("do(")]
    assert len(places) > 10
    functions = "\n".join(f"ORT_PLACED{line.removeprefix('do')}" for line in places)
    source = tmp_path / "check.c"
    source.write_text(CHECK.format(official=official, functions=functions))
    subprocess.run([compiler, "-std=c11", "-fsyntax-only", str(source)], check=True)


def test_all_sources_are_compiled_without_a_warning(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("it wants a C compiler")
    options = ["-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fPIC", "-shared"]
    sources = [str(one) for one in sorted(KERNELS.glob("*.c"))]
    subprocess.run([compiler, *options, "-pthread", *sources, "-lm", "-o", str(tmp_path / "kernels.so")], check=True)
