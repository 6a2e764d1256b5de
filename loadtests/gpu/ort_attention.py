"""Part 3, second table: each way to write attention over a cache in ONNX, against float64.

Three rows of different length, one and four new tokens. Besides the error: whether the columns that nobody may see can
hold NaN, what a row that may see nothing becomes, and on a GPU which kernels run and for how long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loadtests.gpu.onnx_graphs import Variant, attention_graph, cache_shape
from loadtests.gpu.ort_session import ALL_REFUSED, Bound, bind, open_session, require_provider
from loadtests.gpu.reference64 import Array, attention64, relative_error
from loadtests.gpu.report import Table, short
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import QWEN_0_6B, TINY, DecoderShape
from loadtests.gpu.timing import kernel_seconds

PASTS = (5, 0, 17)
COLUMNS = 32
TIMED_ROWS, TIMED_COLUMNS, TIMED_PAST = 64, 512, 375
TOKENS = (1, 4)


@dataclass(frozen=True)
class Case:
    """Random rows, each with its own past, in the layout [B, heads, S or T, D]."""

    shape: DecoderShape
    pasts: tuple[int, ...]
    columns: int
    query: Tensor
    key: Tensor
    value: Tensor
    past_key: Tensor
    past_value: Tensor

    @property
    def tokens(self) -> int:
        return self.query.shape[2]

    def wanted(self) -> Array:
        """[B, S, H D] in float64, from the rounded inputs."""
        rows = []
        for row, past in enumerate(self.pasts):
            keys = torch.cat([self.past_key[row, :, :past], self.key[row]], dim=1)
            values = torch.cat([self.past_value[row, :, :past], self.value[row]], dim=1)
            allowed = np.arange(past + self.tokens)[None] <= past + np.arange(self.tokens)[:, None]
            seen = attention64(_wide(self.query[row]), _wide(keys), _wide(values), allowed)
            rows.append(seen.transpose(1, 0, 2).reshape(self.tokens, -1))
        return np.stack(rows)


def random_case(
    shape: DecoderShape, pasts: tuple[int, ...], tokens: int, columns: int, dtype: torch.dtype, device: str
) -> Case:
    generator = torch.Generator().manual_seed(tokens)

    def noise(heads: int, length: int) -> Tensor:
        size = (len(pasts), heads, length, shape.head_dim)
        return torch.randn(size, generator=generator).to(dtype).to(device)

    return Case(
        shape,
        pasts,
        columns,
        query=noise(shape.heads, tokens),
        key=noise(shape.kv_heads, tokens),
        value=noise(shape.kv_heads, tokens),
        past_key=noise(shape.kv_heads, columns),
        past_value=noise(shape.kv_heads, columns),
    )


def bind_case(
    setting: Setting, case: Case, variant: Variant, is_poisoned: bool = False, is_blind: bool = False
) -> Bound:
    """`is_poisoned`: NaN where no row may look. `is_blind`: row 0 may see nothing (mask variants only)."""
    rows, shape, device = len(case.pasts), case.shape, case.query.device
    dtype, tokens = case.query.dtype, case.tokens
    past = torch.tensor(case.pasts, device=device)
    caches = [case.past_key.clone(), case.past_value.clone()]
    if is_poisoned:
        unused = torch.arange(case.columns, device=device) >= (past + tokens)[:, None]
        caches = [cache.masked_fill(unused[:, None, :, None], torch.nan) for cache in caches]
    if variant is Variant.PAST:
        caches = [cache[:, :, : case.pasts[0]].contiguous() for cache in caches]
    elif variant is Variant.FLAT_MASK:
        caches = [cache.transpose(1, 2).flatten(2).contiguous() for cache in caches]
    inputs = {
        name: tensor.transpose(1, 2).flatten(2).contiguous()
        for name, tensor in (("query", case.query), ("key", case.key), ("value", case.value))
    }
    inputs |= {"past_key0": caches[0], "past_value0": caches[1]}
    if variant is Variant.GROUP_QUERY:
        inputs["last"] = (past + tokens - 1).int()
        inputs["total"] = torch.tensor(max(case.pasts) + tokens, dtype=torch.int32)
    elif variant is not Variant.PAST:
        inputs["write"] = past
    if variant.has_mask:
        positions = past[:, None] + torch.arange(tokens, device=device)
        mask = torch.arange(case.columns, device=device) <= positions[:, :, None]
        inputs["mask"] = mask[:, None] & torch.tensor([not is_blind] + [True] * (rows - 1), device=device).view(
            -1, 1, 1, 1
        )
    if variant.has_length:
        inputs["length"] = past + tokens
    presents = caches
    if not variant.is_in_place:
        size = [int(extent) for extent in cache_shape(shape, rows, case.pasts[0] + tokens, variant)]
        presents = [torch.empty(size, dtype=dtype, device=device) for _ in caches]
    outputs = {"seen": torch.zeros(rows, tokens, shape.heads * shape.head_dim, dtype=dtype, device=device)}
    outputs |= {"present_key0": presents[0], "present_value0": presents[1]}
    session = open_session(attention_graph(shape, case.columns, dtype, variant), setting)
    _wait(setting)
    return bind(session, inputs, outputs)


def run_attention(setting: Setting, table: Table) -> None:
    require_provider(setting)
    shape = TINY.talker if setting.is_tiny else QWEN_0_6B.talker
    dtypes = (torch.bfloat16, torch.float16) if setting.is_cuda else (torch.float32, torch.float16)
    is_any_done = False
    for dtype in dtypes:
        for variant in Variant:
            for tokens in TOKENS:
                if not setting.has_time(4):
                    table.note(f"out of time before {variant.value}, S {tokens}, {dtype}")
                    return
                cells = {"variant": variant.value, "type": str(dtype).removeprefix("torch."), "S": tokens}
                try:
                    table.row(**cells, **judge(setting, shape, dtype, variant, tokens))
                    is_any_done = True
                except Exception as error:  # what one variant refuses is a result
                    table.row(**cells, note=f"refused: {short(error)}")
    if not is_any_done:
        raise RuntimeError(ALL_REFUSED)


def judge(
    setting: Setting, shape: DecoderShape, dtype: torch.dtype, variant: Variant, tokens: int
) -> dict[str, str | float | bool | None]:
    pasts = PASTS if variant.is_in_place else (17, 17, 17)
    case = random_case(shape, pasts, tokens, COLUMNS, dtype, setting.device)
    wanted = case.wanted()
    bound = bind_case(setting, case, variant)
    bound.run()
    found: dict[str, str | float | bool | None] = {"error": relative_error(_wide(bound.tensors["seen out"]), wanted)}
    if variant.is_in_place:
        found["cache_is_right"] = _cache_is_right(case, variant, bound)
        poisoned = bind_case(setting, case, variant, is_poisoned=True)
        poisoned.run()
        found["nan_is_harmless"] = relative_error(_wide(poisoned.tensors["seen out"]), wanted) < 0.1
    if variant.has_mask:
        blind = bind_case(setting, case, variant, is_blind=True)
        blind.run()
        row = blind.tensors["seen out"][0].float()
        found["blind_row"] = "zeros" if not row.any() else "NaN" if row.isnan().any() else "numbers"
    if setting.is_cuda:
        found |= _kernels(setting, shape, dtype, variant, tokens)
    return found


def _cache_is_right(case: Case, variant: Variant, bound: Bound) -> bool:
    """New columns written, all others as they were, in the buffer that was the input."""
    cache = bound.tensors["past_key0"]
    if variant is Variant.FLAT_MASK:
        cache = cache.unflatten(2, (case.shape.kv_heads, -1)).transpose(1, 2)
    wanted = case.past_key.clone()
    for row, past in enumerate(case.pasts):
        wanted[row, :, past : past + case.tokens] = case.key[row]
        # GroupQueryAttention may clear what lies behind a row's length: nobody sees it.
        wanted[row, :, past + case.tokens :] = cache[row, :, past + case.tokens :]
    return torch.equal(cache, wanted)


def _kernels(
    setting: Setting, shape: DecoderShape, dtype: torch.dtype, variant: Variant, tokens: int
) -> dict[str, str | float | bool | None]:
    """Device time of one call at a batch that serves, and its longest kernel."""
    case = random_case(shape, (TIMED_PAST,) * TIMED_ROWS, tokens, TIMED_COLUMNS, dtype, setting.device)
    bound = bind_case(setting, case, variant)
    for _ in range(3):
        bound.run()
    spent = kernel_seconds(bound.run)
    if not spent:
        return {"longest_kernel": "the profiler saw none"}
    name, seconds = next(iter(spent.items()))
    return {"all_us": 1e6 * sum(spent.values()), "longest_us": 1e6 * seconds, "longest_kernel": name[:90]}


def _wide(tensor: Tensor) -> Array:
    wide: Array = tensor.double().cpu().numpy()
    return wide


def _wait(setting: Setting) -> None:
    """ONNX Runtime runs on a stream of its own: what torch prepared must be there."""
    if setting.is_cuda:
        torch.cuda.synchronize()
