"""Which package brings the module `onnxruntime`. Two of them overwrite each other's files, so there must be one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from engines.errors import ConfigError

CPU, GPU = "onnxruntime", "onnxruntime-gpu"


def check_one_runtime() -> None:
    """Raises where several packages bring the runtime, with the commands that repair the environment."""
    found = sorted({_name(one) for one in distributions() if _brings_runtime(one)})
    if len(found) < 2:
        return
    names = " and ".join(found)
    raise ConfigError(
        f"{names} are both installed, and are the same Python module; remove both and install one:\n"
        f"    pip uninstall --yes {' '.join(found)}\n"
        f"    pip install {_wanted()}        (or, for a GPU, pip install -r requirements/cuda.txt)"
    )


def _brings_runtime(one: Distribution) -> bool:
    """Its relatives onnxruntime-extensions and -genai have modules of their own."""
    name = _name(one)
    if name in (CPU, GPU):
        return True
    return name.startswith(f"{CPU}-") and any(str(file) == "onnxruntime/__init__.py" for file in one.files or ())


def _name(one: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", one.metadata["Name"] or "").lower()


def _wanted() -> str:
    """What parlando itself asks for, quoted for a shell."""
    return f'"{next(_asked(), CPU)}"'


def _asked() -> Iterator[str]:
    for one in distributions(name="parlando"):
        yield from (line for line in one.requires or () if re.match(rf"{CPU}\b(?!-)", line))
