"""What holds for every test: no time limit on single examples, since a busy machine would decide, and no telemetry of
libraries that bring ONNX Runtime with them, as clients do."""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from hypothesis import settings

settings.register_profile("parlando", deadline=None)
settings.load_profile("parlando")
