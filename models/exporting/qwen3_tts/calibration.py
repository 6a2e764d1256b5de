"""Steps of int8 for the talker: the largest magnitudes that entered each product while it spoke a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from engines.families.qwen3_tts.section import Qwen3TtsSection
from models.checkpoints.qwen3_tts.reader import Checkpoint
from models.exporting.qwen3_tts.parity import greedy, lengths, opened
from models.exporting.qwen3_tts.prompts import WATCHED, prompt
from models.exporting.qwen3_tts.talker_graphs import watched_graph
from models.exporting.weights import WeightFile

FRAMES = 24
_MARGIN = 1.1  # speech that was not seen may be louder


def int8_steps(folder: Path, checkpoint: Checkpoint, section: Qwen3TtsSection, tokenizer: Any) -> dict[str, float]:
    """Each line with its opening and 24 frames, drawn as served. The float32 graph that is watched lies in `folder`
    meanwhile."""
    path, file, part = folder / "watched.onnx", folder / "watched.weights", section.talker
    positions, config = part.positions + part.spare_positions, checkpoint.config.talker_config
    with WeightFile(file) as weights:  # the network is gone before the runtime holds it once more
        model, watched = watched_graph(checkpoint.talker(), weights, positions, part.most_likely)
    onnx.save(model, path)
    session = opened(path)
    names = [one.name for one in session.get_outputs()]
    peaks = dict.fromkeys(watched.values(), 0.0)
    rng = np.random.default_rng(7)
    shape = (1, config.num_key_value_heads, positions, config.head_dim)
    sampling = section.sampling
    temperatures = {"temperature": sampling.temperature, "inner_temperature": sampling.inner_temperature}
    drawn = greedy(part) | {name: np.full((1, 1), value or 1, np.float32) for name, value in temperatures.items()}
    for line in WATCHED:
        cache = {f"past_{kind}{layer}": np.zeros(shape, np.float32) for layer in range(part.layers) for kind in "kv"}
        given = prompt(section, tokenizer, line, FRAMES)
        row = given.codes[:, 0]
        for place in range(given.text.shape[1]):
            if place <= given.opening:
                row = given.codes[:, place]
            feeds = {"text": given.text[:, place : place + 1], "codes": row[:, None], **drawn, **lengths(place + 1)}
            feeds["numbers"] = rng.random((1, part.codebooks), np.float32)
            found = dict(zip(names, session.run(names, feeds | cache), strict=True))
            cache = {name: found[name.replace("past", "present")] for name in cache}
            row = found["frames"] + part.starts
            for output, name in watched.items():
                peaks[name] = max(peaks[name], float(found[output]))
    del session
    path.unlink()
    file.unlink()
    return {name: _MARGIN * max(peak, 1e-6) / 127 for name, peak in peaks.items()}
