"""int8 forms of the graphs, taken where they stay close to the float ones on speech that the scales have not seen.

    step      root mean square of frames' differences over that of frames, and the end logit's largest difference
    decoder   decibels between the samples and what int8 adds to them

A part that misses its gate stays in float; the manifest says what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from models import fold_lm
from models.checkpoints.pocket.files import Checkpoint
from models.exporting.pocket import calibration
from models.exporting.pocket.folding import folded
from models.folding import fold
from models.quantise import Feeds, quantised, scales

MOST_FRAME_ERROR = 0.15  # of the frames' own size
MOST_END_ERROR = 0.5  # of a logit whose threshold is -1 or -4
LEAST_DECODER_DB = 20.0
_FLOAT = ("input.weight", "flow_out.weight", "quantizer.weight")  # the ends of a graph


@dataclass(frozen=True, slots=True)
class Forms:
    step: onnx.ModelProto
    prefill: onnx.ModelProto
    decoder: onnx.ModelProto
    measured: dict[str, Any]


def chosen(checkpoint: Checkpoint, step: onnx.ModelProto, prefill: onnx.ModelProto, decoder: onnx.ModelProto,
           positions: int) -> Forms:  # fmt: skip
    grouped = checkpoint.config.flow_lm.transformer.kv_heads < checkpoint.config.flow_lm.transformer.num_heads
    seen = calibration.speak(checkpoint, prefill, step, positions, seed=1)
    small_step, small_prefill = int8_form(step, seen.steps()), int8_form(prefill, seen.prefills())
    small_decoder = int8_form(decoder, calibration.decoder_feeds(decoder, seen.frames), least=1)
    del seen
    unseen = calibration.speak(checkpoint, prefill, step, positions, seed=2)
    frames, ends = _errors(step, small_step, unseen.steps, ("frames", "end"))
    keys = _errors(prefill, small_prefill, unseen.prefills, ("present_k0",))[0]
    db = _decoder_db(decoder, small_decoder, unseen.frames)
    measured: dict[str, Any] = {
        "frame_error": frames[0],
        "end_error": ends[1],
        "prefill_key_error": keys[0],
        "decoder_db": db,
    }
    speaks_in_int8 = frames[0] <= MOST_FRAME_ERROR and ends[1] <= MOST_END_ERROR
    decodes_in_int8 = db >= LEAST_DECODER_DB
    measured["int8"] = [name for name, is_one in (("lm", speaks_in_int8), ("decoder", decodes_in_int8)) if is_one]
    if speaks_in_int8:
        step, prefill = small_step, small_prefill
    return Forms(
        step=_folded_lm(step, grouped), prefill=_folded_lm(prefill, grouped),
        decoder=folded(small_decoder if decodes_in_int8 else decoder), measured=measured,
    )  # fmt: skip


def _folded_lm(model: onnx.ModelProto, grouped: bool) -> onnx.ModelProto:
    """Our attention is the quicker one where several query heads share keys; products always."""
    if grouped:
        return fold_lm.folded(model)
    return fold(model, lambda graph: fold_lm.products(graph))


def int8_form(model: onnx.ModelProto, calls: Iterable[Feeds], **how: int) -> onnx.ModelProto:
    return quantised(model, scales(model, calls, **how), lambda weight: weight not in _FLOAT, **how)


def _errors(
    model: onnx.ModelProto, other: onnx.ModelProto, calls: Callable[[], Iterable[Feeds]], names: tuple[str, ...]
) -> list[tuple[float, float]]:
    """By output: root mean square of the differences over that of the values, and the largest difference."""
    found = []
    for one in (model, other):
        graph = calibration.session(one)
        found.append([graph.run(names, feeds) for feeds in calls()])
    errors = []
    for at in range(len(names)):
        values, others = (np.concatenate([call[at].ravel() for call in form]) for form in found)
        errors.append((_size(others - values) / _size(values), float(np.abs(others - values).max())))
    return errors


def _decoder_db(model: onnx.ModelProto, other: onnx.ModelProto, frames: calibration.Frames) -> float:
    (error, _), = _errors(model, other, lambda: calibration.decoder_feeds(model, frames), ("pcm",))  # fmt: skip
    return float(-20 * np.log10(max(error, 1e-9)))


def _size(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values.astype(np.float64)).mean()))
