"""The one import of ONNX Runtime; all others take it from here.

What the runtime reads of its environment it reads at its import: its telemetry writes a device id under the home folder
and looks up a collector of its maker, so it is off before that, always.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("ORT_GQA_DISABLE_FLASH_ATTENTION", "1")

import onnxruntime as ort

__all__ = ["cpu_session", "ort", "session_options"]

_EXACT = "session.x64quantprecision"
_SHARED = "Attempt to replace the existing tensor"


def session_options() -> ort.SessionOptions:
    """Of every session on a CPU. Without VNNI the runtime adds pairs of int8 products in int16 and cuts what does not
    fit, unless it is told not to: a product of usual weights was off by half its size there."""
    options = ort.SessionOptions()
    options.add_session_config_entry(_EXACT, "1")
    return options


def cpu_session(
    model: str | bytes, options: ort.SessionOptions, disabled_optimizers: Sequence[str] = ()
) -> ort.InferenceSession:
    """`model` is a path or a serialised graph. Where several products share their int8 weights the runtime (1.31)
    cannot be told, since it fails to load: such a graph runs as it comes. Those are drafts, which are verified, and the
    code predictor of Qwen3-TTS in int8."""

    def opened() -> ort.InferenceSession:
        return ort.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=[*disabled_optimizers]
        )

    try:
        return opened()
    except Exception as error:  # the runtime's own types, which are not to be named
        if _SHARED not in str(error):
            raise
    options.add_session_config_entry(_EXACT, "0")
    return opened()
