"""The measured decoder computes what it says: every form against float64, cached against whole, replay after replay."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the measurements need torch")

import torch.nn.functional as F

from loadtests.gpu.decoder import Cache, decode, new_cache, place_at, random_decoder
from loadtests.gpu.frames import (
    FUSED,
    MATMUL,
    NOISE_FRAMES,
    PLAIN,
    Form,
    FrameModel,
    FrameState,
    new_state,
    random_frame_model,
    run_frame,
    sample,
)
from loadtests.gpu.reference64 import decoder64, relative_error
from loadtests.gpu.shapes import QWEN_0_6B, QWEN_1_7B, TINY

FORMS = (PLAIN, FUSED, MATMUL)
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_bytes_of_a_frame_are_those_of_the_roofline() -> None:
    assert QWEN_1_7B.talker.weight_bytes == pytest.approx(2.82e9, rel=0.002)
    assert QWEN_1_7B.predictor_bytes == pytest.approx(2.42e9, rel=0.002)
    assert QWEN_1_7B.talker.kv_bytes_per_position == QWEN_0_6B.talker.kv_bytes_per_position == 112 * 1024
    weights = QWEN_1_7B.talker.weight_bytes + QWEN_1_7B.predictor_bytes
    assert weights / 4.3e12 == pytest.approx(1.22e-3, rel=0.005)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("chunks", [(1,) * 7, (3, 1, 3), (7,)])
def test_ragged_rows_with_leftovers_equal_whole_sequences(form: Form, chunks: tuple[int, ...]) -> None:
    decoder = random_decoder(TINY.talker, "cpu", torch.float64, 16, torch.Generator().manual_seed(0))
    rows, columns = 3, 16
    past = torch.tensor([0, 2, 5])
    whole = torch.randn(
        rows, 5 + 7, TINY.talker.hidden, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    cache = new_cache(TINY.talker, rows, columns, "cpu", torch.float64)
    for slab in (*cache.keys, *cache.values):
        slab.normal_()
    for row in range(rows):  # what a row has behind it, written alone
        mine = slice(row * columns, (row + 1) * columns)
        alone = Cache([keys[mine] for keys in cache.keys], [values[mine] for values in cache.values])
        if past[row]:
            place = place_at(decoder, torch.arange(int(past[row]))[None], columns)
            decode(decoder, form.run_layer, whole[row : row + 1, : past[row]], place, alone)
    done = 0
    got = []
    for tokens in chunks:
        positions = past[:, None] + done + torch.arange(tokens)
        x = torch.stack([whole[row, positions[row]] for row in range(rows)])
        got.append(decode(decoder, form.run_layer, x, place_at(decoder, positions, columns), cache))
        done += tokens
    for row in range(rows):
        wanted = decoder64(decoder, whole[row, : past[row] + 7].numpy())[past[row] :]
        assert relative_error(torch.cat(got, dim=1)[row].numpy(), wanted) < 1e-12


def _frames_by_reference(model: FrameModel, state: FrameState, row: int, count: int) -> np.ndarray:
    """The loop restated over whole sequences in float64: [count, Q] codes."""
    shape = model.shape
    talker_inputs, frames = [state.x[row, 0].numpy()], []
    seen = np.zeros(shape.talker_vocab, dtype=bool)
    assert model.projection is not None
    projection = model.projection.numpy()
    for frame in range(count):
        turn = frame % NOISE_FRAMES
        hidden = decoder64(model.talker, np.stack(talker_inputs))[-1]
        logits = model.first_head.numpy() @ hidden
        logits = np.where(seen, np.where(logits > 0, logits / 1.05, logits * 1.05), logits) + model.suppression.numpy()
        codes = [_pick(logits, state.noise[turn, 0, row].numpy(), shape.top_k)]
        seen[codes[0]] = True
        inner = [projection @ hidden, projection @ model.tables[0, codes[0]].numpy()]
        for step in range(shape.predictor_steps):
            logits = model.heads[step].numpy() @ decoder64(model.predictor, np.stack(inner))[-1]
            noise = state.noise[turn, step + 1, row].numpy()[: shape.predictor_vocab]
            codes.append(_pick(logits, noise, shape.top_k))
            inner.append(projection @ model.tables[step + 1, codes[-1]].numpy())
        frames.append(codes)
        summed = sum(model.tables[book, code].numpy() for book, code in enumerate(codes))
        talker_inputs.append(summed + state.text[turn, row, 0].numpy())
    return np.array(frames)


def _pick(logits: np.ndarray, noise: np.ndarray, top_k: int) -> int:
    best = np.argsort(-logits)[:top_k]
    return int(best[np.argmax(logits[best] / 0.9 + noise[best])])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("is_sliced", [True, False])
def test_frames_equal_the_loop_over_whole_sequences(form: Form, is_sliced: bool) -> None:
    model = random_frame_model(TINY, "cpu", torch.float64, positions=16)
    state = new_state(model, rows=2, columns=16, is_sliced=is_sliced)
    wanted = [_frames_by_reference(model, state, row, 6) for row in range(2)]
    for frame in range(6):
        run_frame(model, state, form)
        for row in range(2):
            assert state.codes[row].tolist() == wanted[row][frame].tolist()
    assert state.positions.flatten().tolist() == [6, 6]


def test_sampling_forms_agree_and_follow_the_distribution() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(40_000, 4)
    uniform = torch.rand(40_000, 4, generator=torch.Generator().manual_seed(3)).clamp_min(1e-9)
    noise = -torch.log(-torch.log(uniform))
    picks = sample(logits, noise, top_k=3, is_merged=True)
    assert torch.equal(picks, sample(logits, noise, top_k=3, is_merged=False))
    shares = torch.bincount(picks[:, 0], minlength=4) / 40_000
    wanted = F.pad((logits[0, :3] / 0.9).softmax(dim=0), (0, 1))
    assert (shares - wanted).abs().max() < 0.01


@pytest.mark.gpu
@NEEDS_CUDA
def test_replayed_frames_equal_eager_ones() -> None:
    from loadtests.gpu.capture import capture

    model = random_frame_model(TINY, "cuda", torch.float32, positions=64)
    eager, replayed = new_state(model, 2, 64), new_state(model, 2, 64)
    captured = capture(lambda: run_frame(model, replayed, FUSED))
    replayed.rewind(0)
    replayed.x.copy_(eager.x)
    replayed.seen.zero_()
    for _ in range(8):
        run_frame(model, eager, FUSED)
        captured.replay()
        assert torch.equal(eager.codes, replayed.codes)
