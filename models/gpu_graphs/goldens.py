"""What the GPU form must give on the very device: computed here once, in float32, on the CPU provider.

Two rows that begin one step apart, so that a kernel which takes one length for all rows fails; the last layer's cache
is compared, since it depends on every layer and position before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.ort import ort, session_options
from models.gpu_graphs.lm import decode
from models.gpu_graphs.synthesis import hop_at, window_at
from models.gpu_graphs.vocoder import state_shapes, vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights

Arrays = dict[str, NDArray[Any]]
ROWS, STEPS, CODES = 2, 6, 8


def goldens(bundle: Bundle, lm: LmWeights, sound: VocoderWeights) -> Arrays:
    return _of_lm(bundle, lm) | _of_vocoder(bundle, sound)


def _run(model: onnx.ModelProto, feeds: Arrays) -> Arrays:
    options = session_options()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def _of_lm(bundle: Bundle, lm: LmWeights) -> Arrays:
    rng, count = np.random.default_rng(20), bundle.codes.count
    context = rng.integers(count + 1, len(lm.table), (STEPS, ROWS, lm.features - 1))
    last = rng.integers(0, count, (STEPS, ROWS))
    model, noise = decode(lm, "float32", STEPS + 1), np.zeros(count, np.float32)
    slab = np.zeros((ROWS, 1, STEPS + 1, lm.head_dim), np.float32)
    cache: Arrays = {f"past_{kind}{layer}": slab for layer in range(len(lm.layers)) for kind in "kv"}
    frames = []
    for step in range(STEPS):
        feeds: Arrays = {
            "context": context[step],
            "last": last[step],
            "is_active": np.ones(ROWS, bool),
            "lengths": np.array([step, max(step - 1, 0)], np.int32),  # the second row's first step is made twice
            "temperature": np.ones(ROWS, np.float32),
            "noise_at": np.zeros(ROWS, np.int64),
            "noise_table": noise,
        }
        outputs = _run(model, feeds | cache)
        cache = {name.replace("present", "past"): one for name, one in outputs.items() if name.startswith("present")}
        frames.append(outputs["frames"])
    deepest = len(lm.layers) - 1
    return {
        "lm_context": context,
        "lm_last": last,
        "lm_frames": np.stack(frames),
        "lm_keys": cache[f"past_k{deepest}"][:, 0, : STEPS - 1],
        "lm_values": cache[f"past_v{deepest}"][:, 0, : STEPS - 1],
    }


def _of_vocoder(bundle: Bundle, sound: VocoderWeights) -> Arrays:
    rng, frames = np.random.default_rng(21), CODES * bundle.frames_per_code
    made = np.zeros((ROWS, CODES, bundle.frame_width), np.int64)
    made[..., 0] = rng.integers(0, bundle.codes.count, (ROWS, CODES))
    if sound.seen is not None:
        made[..., 1:] = rng.integers(0, len(sound.seen), made[..., 1:].shape)
    sizes = sum(int(np.prod(shape)) for shape in state_shapes(sound))
    feeds: Arrays = {
        **bundle.vocoder.feeds(made),
        "voices": np.eye(ROWS, len(sound.voices), dtype=np.float32),
        "pitch": np.ones(ROWS, np.float32),
        "slots": np.arange(ROWS),
        "begins": np.ones(ROWS, bool),
        "noise_at": np.zeros(ROWS, np.int64),
        "noise_table": np.zeros(bundle.look_back + CODES * bundle.samples_per_code, np.float32),
        "window_at": window_at(frames),
        "hop_at": hop_at(frames),
        "state": np.zeros((ROWS, sizes), np.float32),
        "phase": np.zeros(ROWS, np.int64),
    }
    given = {f"vocoder_{name}": values for name, values in bundle.vocoder.feeds(made).items()}
    return given | {"vocoder_samples": _run(vocoder(sound, "float32"), feeds)["samples"]}
