"""Steps of int8 for the talker: the largest magnitudes that entered each product over a few seconds of speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from engines.families.qwen3_tts.section import TalkerPart
from models.checkpoints.qwen3_tts.reader import Checkpoint
from models.exporting.qwen3_tts.parity import greedy, lengths, opened
from models.exporting.qwen3_tts.talker_graphs import watched_graph
from models.exporting.weights import WeightFile

FRAMES = 24
_MARGIN = 1.1  # speech that was not seen may be louder


def int8_steps(folder: Path, checkpoint: Checkpoint, part: TalkerPart) -> dict[str, float]:
    """Two rows of different text, 24 positions each. The float32 graph that is watched lies in `folder` meanwhile."""
    path, file = folder / "watched.onnx", folder / "watched.weights"
    positions, config = part.positions + part.spare_positions, checkpoint.config.talker_config
    with WeightFile(file) as weights:  # the network is gone before the runtime holds it once more
        model, watched = watched_graph(checkpoint.talker(), weights, positions, part.most_likely)
    onnx.save(model, path)
    session = opened(path)
    names = [one.name for one in session.get_outputs()]
    peaks = dict.fromkeys(watched.values(), 0.0)
    rng = np.random.default_rng(7)
    shape = (1, config.num_key_value_heads, positions, config.head_dim)
    for _ in range(2):
        cache = {f"past_{kind}{layer}": np.zeros(shape, np.float32) for layer in range(part.layers) for kind in "kv"}
        codes = np.full((1, 1, part.codebooks), part.nothing)
        for frame in range(FRAMES):
            text = rng.integers(0, config.text_vocab_size // 2, (1, 1))
            feeds = {"text": text, "codes": codes, **greedy(part), **lengths(frame + 1), **cache}
            feeds["numbers"] = rng.random((1, part.codebooks), np.float32)
            found = dict(zip(names, session.run(names, feeds), strict=True))
            cache = {name: found[name.replace("past", "present")] for name in cache}
            codes = (found["frames"] + part.starts)[:, None]
            for output, name in watched.items():
                peaks[name] = max(peaks[name], float(found[output]))
    del session
    path.unlink()
    file.unlink()
    return {name: _MARGIN * max(peak, 1e-6) / 127 for name, peak in peaks.items()}
