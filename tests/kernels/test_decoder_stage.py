"""Our kernels for the stages, attention and last convolution of a pocket-tts decoder against the nodes they stand for.

The decoder is a small one: channels of 192, 96, 48 and 24, which end inside a vector, and products 12 deep.
"""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import onnx
import pytest

from engines.runtime.ort import ort
from models.checkpoints.pocket import releases
from models.checkpoints.pocket.config import Config
from models.checkpoints.pocket.random_checkpoint import random_weights
from models.exporting.pocket import calibration
from models.exporting.pocket.decoder import decoder_graph, states
from models.exporting.pocket.folding import CLOSING, STAGE, WINDOW, folded
from models.exporting.pocket.int8 import int8_form
from tests.kernels.graphs import Array, session, stock

STEPS_PER_FRAME = 16


@cache
def graph(filters: int = 24) -> onnx.ModelProto:
    config, rng = small(filters), np.random.default_rng(4)
    model = decoder_graph(config, random_weights(config, rng))
    frames = rng.standard_normal((2, 6, config.frame_width), np.float32)
    return folded(int8_form(model, calibration.decoder_feeds(model, frames), least=1))


def small(filters: int) -> Config:
    config = releases.release("english_2m_2026-10")
    codec = config.mimi
    assert codec.decoder_seanet is not None
    assert codec.decoder_transformer is not None
    seanet = msgspec.structs.replace(codec.decoder_seanet, n_filters=filters)
    layers = msgspec.structs.replace(codec.decoder_transformer, num_layers=1)
    codec = msgspec.structs.replace(codec, decoder_seanet=seanet, decoder_transformer=layers)
    return msgspec.structs.replace(config, mimi=codec)


@cache
def both(form: str) -> tuple[ort.InferenceSession, ort.InferenceSession]:
    return session(graph(), form), stock(graph())


def start(rows: int) -> dict[str, Array]:
    return {name: np.zeros((rows, *shape), np.float32) for name, shape in states(graph())}


def run(one: ort.InferenceSession, latents: Array, jobs: list[int]) -> dict[str, Array]:
    """latents [B, F, W] in jobs of so many frames -> pcm, and the states that are left."""
    state, at, pieces = start(len(latents)), 0, []
    for count in jobs:
        position = np.full(len(latents), at * STEPS_PER_FRAME)
        feeds = {"latents": latents[:, at : at + count], "position": position, **state}
        found = dict(zip([end.name for end in one.get_outputs()], one.run(None, feeds), strict=True))
        pieces.append(found.pop("pcm"))
        state = {name.removesuffix("_out"): value for name, value in found.items()}
        at += count
    return {"pcm": np.concatenate(pieces, 1), **state}


def latents(rows: int, frames: int) -> Array:
    return np.random.default_rng([rows, frames]).standard_normal((rows, frames, 32), np.float32)


def test_the_graph_has_a_node_for_each_part() -> None:
    kinds = [node.op_type for node in graph().graph.node]
    assert [kinds.count(kind) for kind in (STAGE, CLOSING, WINDOW, "Elu", "Softmax")] == [3, 1, 1, 0, 0]


@pytest.mark.parametrize(("rows", "jobs"), [(1, [1]), (1, [7]), (3, [2, 1]), (5, [4, 4])])
def test_they_say_what_the_runtimes_nodes_say(form: str, rows: int, jobs: list[int]) -> None:
    """A last bit makes a whole step of int8 now and then: nearly everything is equal, the rest is near."""
    given = latents(rows, sum(jobs))
    found, wanted = (run(one, given, jobs) for one in both(form))
    for name, value in wanted.items():
        apart = np.abs(found[name] - value)
        assert np.median(apart) <= 2e-6 * value.std(), name
        assert (apart**2).sum() <= 1e-4 * (value**2).sum(), name


@pytest.mark.parametrize("jobs", [[1] * 9, [2, 3, 4], [8, 1]])
def test_streamed_equals_whole(form: str, jobs: list[int]) -> None:
    ours, _ = both(form)
    given = latents(2, 9)
    whole = run(ours, given, [9])
    for name, value in run(ours, given, jobs).items():
        np.testing.assert_array_equal(value, whole[name], name)


def test_rows_are_independent(form: str) -> None:
    ours, _ = both(form)
    given = latents(9, 2)
    given[4] = np.nan
    together = run(ours, given, [1, 1])
    for row in (0, 3, 5, 8):
        alone = run(ours, given[row : row + 1], [1, 1])
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][row], name)


def test_a_geometry_that_is_not_offered_is_refused_at_load(form: str) -> None:
    """A product 2 deep: the runtime's nodes serve."""
    with pytest.raises(Exception, match="multiples of 4"):
        session(graph(4), form)
    stock(graph(4))


def test_a_step_behind_the_rotary_tables_is_refused(form: str) -> None:
    ours, _ = both(form)
    with pytest.raises(Exception, match="behind the rotary tables"):
        ours.run(None, {"latents": latents(1, 1), "position": np.array([1 << 20]), **start(1)})
