"""One codec frame of Qwen3-TTS in torch: talker step, code 0, unrolled predictor, the other codes, the next input.

All buffers are fixed and every change is in place, so a captured frame advances by itself when replayed. Sampling is
inside: Gumbel noise comes from a buffer filled before, addressed by frame, codebook and code, so the same frame gets
the same noise in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from loadtests.gpu.decoder import (
    Cache,
    Decoder,
    Place,
    RunLayer,
    decode,
    new_cache,
    place_alike,
    place_at,
    random_decoder,
    random_matrix,
)
from loadtests.gpu.layers import cudnn_layer, fused_layer, matmul_layer, plain_layer
from loadtests.gpu.shapes import FrameShape

TEMPERATURE = 0.9
REPETITION_PENALTY = 1.05
NOISE_FRAMES = 4  # the noise of a longer run repeats: time does not depend on it


@dataclass(frozen=True)
class FrameModel:
    shape: FrameShape
    talker: Decoder
    predictor: Decoder
    first_head: Tensor  # [talker_vocab, talker hidden]
    heads: Tensor  # [Q - 1, predictor_vocab, predictor hidden]
    tables: Tensor  # [Q, talker_vocab, talker hidden]: code embeddings; those of the predictor use their first rows
    projection: Tensor | None  # [predictor hidden, talker hidden]; None where both are of one width
    projected: Tensor  # [Q, talker_vocab, predictor hidden]: the tables times the projection
    suppression: Tensor  # [talker_vocab], 0 or -inf


@dataclass(frozen=True)
class FrameState:
    """What a frame reads and writes, at fixed addresses."""

    positions: Tensor  # int64 [B, 1], where the talker's next token goes
    frame: Tensor  # int64 [1]
    x: Tensor  # [B, 1, talker hidden], the talker's next input
    seen: Tensor  # bool [B, talker_vocab], codes 0 sampled so far
    codes: Tensor  # int64 [B, Q], the frame's result
    noise: Tensor  # [NOISE_FRAMES, Q, B, talker_vocab]
    text: Tensor  # [NOISE_FRAMES, B, 1, talker hidden], embedded text tokens
    offsets: Tensor  # int64 [Q], where a codebook begins in the flattened tables
    cache: Cache
    inner_cache: Cache
    inner_places: list[Place]
    columns: int

    def rewind(self, position: int) -> None:
        self.positions.fill_(position)
        self.frame.zero_()


@dataclass(frozen=True)
class Form:
    """How a frame is computed. `is_merged` also merges sampling and embedding look-ups."""

    name: str
    run_layer: RunLayer
    is_merged: bool


PLAIN = Form("plain", plain_layer, is_merged=False)
FUSED = Form("fused", fused_layer, is_merged=True)
MATMUL = Form("fused, attention as matmul", matmul_layer, is_merged=True)
CUDNN = Form("fused, attention of cuDNN", cudnn_layer, is_merged=True)  # on a GPU only


def random_frame_model(shape: FrameShape, device: str, dtype: torch.dtype, positions: int, seed: int = 0) -> FrameModel:
    generator = torch.Generator(device=device).manual_seed(seed)
    talker = random_decoder(shape.talker, device, dtype, positions, generator)
    predictor = random_decoder(shape.predictor, device, dtype, shape.codebooks, generator)
    width, inner = shape.talker.hidden, shape.predictor.hidden

    def stacked(count: int, rows: int, columns: int) -> Tensor:
        matrices = [random_matrix(rows, columns, device, dtype, generator) for _ in range(count)]
        return torch.stack(matrices)

    projection = None if inner == width else random_matrix(inner, width, device, dtype, generator)
    tables = stacked(shape.codebooks, shape.talker_vocab, width)
    suppression = torch.zeros(shape.talker_vocab, device=device)
    suppression[shape.talker_vocab - shape.suppressed :] = -torch.inf
    suppression[shape.end_id] = 0.0
    return FrameModel(
        shape=shape,
        talker=talker,
        predictor=predictor,
        first_head=random_matrix(shape.talker_vocab, width, device, dtype, generator),
        heads=stacked(shape.predictor_steps, shape.predictor_vocab, inner),
        tables=tables,
        projection=projection,
        projected=tables if projection is None else F.linear(tables, projection),
        suppression=suppression,
    )


def new_state(model: FrameModel, rows: int, columns: int, is_sliced: bool = True, seed: int = 1) -> FrameState:
    """`is_sliced`: the predictor reads only the columns that exist; else all, masked, so that its steps look alike."""
    shape = model.shape
    device, dtype = str(model.tables.device), model.tables.dtype
    generator = torch.Generator(device=device).manual_seed(seed)
    uniform = torch.rand(
        NOISE_FRAMES, shape.codebooks, rows, shape.talker_vocab, device=device, generator=generator
    ).clamp_min(1e-9)
    text = torch.randn(NOISE_FRAMES, rows, 1, shape.talker.hidden, device=device, generator=generator)
    places = []
    for step in range(shape.predictor_steps):
        start, tokens = (0, 2) if step == 0 else (step + 1, 1)
        places.append(place_alike(model.predictor, start, tokens, rows, shape.codebooks, is_sliced))
    return FrameState(
        positions=torch.zeros(rows, 1, dtype=torch.int64, device=device),
        frame=torch.zeros(1, dtype=torch.int64, device=device),
        x=torch.randn(rows, 1, shape.talker.hidden, device=device, generator=generator).to(dtype),
        seen=torch.zeros(rows, shape.talker_vocab, dtype=torch.bool, device=device),
        codes=torch.zeros(rows, shape.codebooks, dtype=torch.int64, device=device),
        noise=-torch.log(-torch.log(uniform)),
        text=text.to(dtype),
        offsets=torch.arange(shape.codebooks, device=device) * shape.talker_vocab,
        cache=new_cache(shape.talker, rows, columns, device, dtype),
        inner_cache=new_cache(shape.predictor, rows, shape.codebooks, device, dtype),
        inner_places=places,
        columns=columns,
    )


def run_frame(model: FrameModel, state: FrameState, form: Form) -> None:
    """One frame for every row; `state` then holds its codes and is ready for the next."""
    shape = model.shape
    turn = state.frame.remainder(NOISE_FRAMES)
    noise = state.noise.index_select(0, turn)[0]
    place = place_at(model.talker, state.positions, state.columns)
    hidden = decode(model.talker, form.run_layer, state.x, place, state.cache)
    codes = [sample_first(model, state, hidden[:, 0], noise[0], form)]
    state.seen.scatter_(1, codes[0], True)
    inputs = torch.cat([_project(model, hidden), _inner_input(model, codes[0], 0, form)], dim=1)
    for step, inner_place in enumerate(state.inner_places):
        inner = decode(model.predictor, form.run_layer, inputs, inner_place, state.inner_cache)
        logits = F.linear(inner[:, -1], model.heads[step]).float()
        draws = noise[step + 1, :, : shape.predictor_vocab]
        codes.append(sample(logits, draws, shape.top_k, form.is_merged))
        if step + 1 < shape.predictor_steps:
            inputs = _inner_input(model, codes[-1], step + 1, form)
    state.codes.copy_(torch.cat(codes, dim=1))
    state.x.copy_(_summed(model, state, codes, form) + state.text.index_select(0, turn)[0])
    state.positions.add_(1)
    state.frame.add_(1)


def sample_first(model: FrameModel, state: FrameState, hidden: Tensor, noise: Tensor, form: Form) -> Tensor:
    """Code 0 [B, 1]: repetition penalty on the codes sampled before, and codes that may not be sampled."""
    logits = F.linear(hidden, model.first_head).float()
    damped = torch.where(logits > 0, logits / REPETITION_PENALTY, logits * REPETITION_PENALTY)
    logits = torch.where(state.seen, damped, logits) + model.suppression
    return sample(logits, noise, model.shape.top_k, form.is_merged)


def sample(logits: Tensor, noise: Tensor, top_k: int, is_merged: bool) -> Tensor:
    """logits and Gumbel noise [B, V] -> picks int64 [B, 1] from the best `top_k`; both forms pick the same."""
    best, ids = (logits / TEMPERATURE).topk(top_k, dim=1)
    if is_merged:
        return ids.gather(1, (best + noise.gather(1, ids)).argmax(dim=1, keepdim=True))
    scaled = logits / TEMPERATURE
    kept = scaled.masked_fill(scaled < best[:, -1:], -torch.inf)
    return (kept + noise).argmax(dim=1, keepdim=True)


def _project(model: FrameModel, x: Tensor) -> Tensor:
    return x if model.projection is None else F.linear(x, model.projection)


def _inner_input(model: FrameModel, codes: Tensor, codebook: int, form: Form) -> Tensor:
    """codes [B, 1] -> the predictor's next input [B, 1, predictor hidden]."""
    if form.is_merged:
        return F.embedding(codes, model.projected[codebook])
    return _project(model, F.embedding(codes, model.tables[codebook]))


def _summed(model: FrameModel, state: FrameState, codes: list[Tensor], form: Form) -> Tensor:
    """The embeddings of all codes of the frame, added: [B, 1, talker hidden]."""
    if form.is_merged:
        flat = model.tables.view(-1, model.tables.shape[-1])
        return F.embedding(state.codes + state.offsets, flat).sum(dim=1, keepdim=True)
    total = F.embedding(codes[0], model.tables[0])
    for codebook in range(1, len(codes)):
        total = total + F.embedding(codes[codebook], model.tables[codebook])
    return total
