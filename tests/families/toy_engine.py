"""An engine over a toy family, on the real runtime.

`FAMILY=module:Class` adds a family of your own to all tests over the toys (docs/add-a-family.md).
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.engine_model import Model
from engines.families.base import Family
from engines.runtime.onnx_cpu import OnnxCpu
from tests.families.depth import DepthFamily
from tests.families.prefix import PrefixFamily

TOYS: dict[str, Callable[[Path], Family]] = {"prefix": PrefixFamily, "depth": DepthFamily}
if "FAMILY" in os.environ:
    _module, _name = os.environ["FAMILY"].split(":")
    TOYS[_name] = getattr(importlib.import_module(_module), _name)


@cache
def _folder() -> Path:
    """Of the toys' graphs, for the whole run."""
    return Path(tempfile.mkdtemp(prefix="toy-families-"))


def toy_engine(name: str, config: EngineConfig, clock: Callable[[], float] = time.monotonic) -> Engine:
    family, backend = TOYS[name](_folder()), OnnxCpu(own_kernels="off")
    model = Model(
        family=family,
        spec=family.spec(backend),
        talker=family.talker(backend, config.slots),
        vocoder=family.vocoder(backend, config.slots),
        drafter=None if config.drafts is DraftMode.OFF else family.drafter(backend, tolerance=0),
        arithmetic=backend.arithmetic,
    )
    return Engine(model, config, clock)
