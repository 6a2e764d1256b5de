"""Emulates the GPU in every process that has this folder in PYTHONPATH, the server's engine among them."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


class _BeforeAssembly(importlib.abc.MetaPathFinder):
    """Installs the emulation when the module that opens the device is imported, and not in other processes."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != "engines.families.on_a_device":
            return None
        sys.meta_path.remove(self)
        from engines.runtime.device import load_libraries
        from tests.dry_cuda.emulation import Emulation

        load_libraries()
        sys.emulation = Emulation()  # type: ignore[attr-defined]
        return importlib.util.find_spec(fullname)


sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.meta_path.insert(0, _BeforeAssembly())
