"""The one import of ONNX Runtime; all others take it from here.

What the runtime reads of its environment it reads at its import: its telemetry writes a device id under the home folder
and looks up a collector of its maker, so it is off before that, always.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("ORT_GQA_DISABLE_FLASH_ATTENTION", "1")

import onnxruntime as ort

__all__ = ["ort"]
