"""One step of a decoder as an ONNX graph sees it: weights, buffers, and the same step in torch to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from loadtests.gpu.decoder import Cache, Decoder, decode, new_cache, place_at, random_decoder, random_matrix
from loadtests.gpu.layers import fused_layer
from loadtests.gpu.onnx_graphs import Variant
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import DecoderShape

COLUMNS, CONTEXT = 512, 375
TINY_COLUMNS, TINY_CONTEXT = 24, 5


@dataclass(frozen=True)
class StepJob:
    """A decoder, its head and the inputs of one step, at a fixed context in every row."""

    decoder: Decoder
    head: Tensor  # [V, hidden]
    columns: int
    x: Tensor  # [B, S, hidden]
    positions: Tensor  # int64 [B, S]
    history: Cache  # the torch layout, random in every column

    @classmethod
    def random(cls, setting: Setting, shape: DecoderShape, dtype: torch.dtype, rows: int, tokens: int) -> StepJob:
        columns = TINY_COLUMNS if setting.is_tiny else COLUMNS
        generator = torch.Generator(device=setting.device).manual_seed(0)
        decoder = random_decoder(shape, setting.device, dtype, columns, generator)
        vocab = 64 if setting.is_tiny else 3072
        head = random_matrix(vocab, shape.hidden, setting.device, dtype, generator)
        return cls.over(setting, decoder, head, rows, tokens)

    @classmethod
    def over(cls, setting: Setting, decoder: Decoder, head: Tensor, rows: int, tokens: int) -> StepJob:
        columns, context = (TINY_COLUMNS, TINY_CONTEXT) if setting.is_tiny else (COLUMNS, CONTEXT)
        device, dtype, shape = setting.device, decoder.final_norm.dtype, decoder.shape
        history = new_cache(shape, rows, columns, device, dtype)
        for slab in (*history.keys, *history.values):
            slab.normal_()
        starts = context + torch.arange(rows, device=device).remainder(4)  # ragged
        x = torch.randn(rows, tokens, shape.hidden, device=device).to(dtype)
        return cls(decoder, head, columns, x, starts[:, None] + torch.arange(tokens, device=device), history)

    def buffers(self, variant: Variant) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs and outputs of the ONNX graph; caches are one buffer for both."""
        rows, tokens, _ = self.x.shape
        shape, device = self.decoder.shape, self.x.device
        inputs = {"x": self.x.clone(), "positions": self.positions.clone()}
        outputs = {"logits": torch.zeros(rows, tokens, self.head.shape[0], device=device)}
        if variant is Variant.GROUP_QUERY:
            inputs["last"] = torch.zeros(rows, dtype=torch.int32, device=device)
            inputs["total"] = torch.tensor(self.columns, dtype=torch.int32)
        else:
            inputs["write"] = torch.zeros(rows, dtype=torch.int64, device=device)
        if variant.has_mask:
            inputs["mask"] = torch.zeros(rows, 1, tokens, self.columns, dtype=torch.bool, device=device)
        if variant.has_length:
            inputs["length"] = torch.zeros(rows, dtype=torch.int64, device=device)
        size = (rows, shape.kv_heads, self.columns, shape.head_dim)
        for kind, slabs in (("key", self.history.keys), ("value", self.history.values)):
            for index, slab in enumerate(slabs):
                cache = torch.empty(size, dtype=slab.dtype, device=device)
                cache.copy_(slab.view(rows, self.columns, shape.kv_heads, shape.head_dim).transpose(1, 2))
                inputs[f"past_{kind}{index}"] = outputs[f"present_{kind}{index}"] = cache
        self.move(inputs, 0)
        return inputs, outputs

    def move(self, inputs: dict[str, Tensor], by: int) -> None:
        """The same step `by` positions later, written into the bound buffers."""
        positions = self.positions + by
        inputs["positions"].copy_(positions)
        columns = torch.arange(self.columns, device=positions.device)
        if "write" in inputs:
            inputs["write"].copy_(positions[:, 0])
        if "mask" in inputs:
            inputs["mask"].copy_((columns <= positions[:, :, None])[:, None])
        if "length" in inputs:
            inputs["length"].copy_(positions[:, -1] + 1)
        if "last" in inputs:
            inputs["last"].copy_(positions[:, -1])

    def torch_logits(self, cache: Cache, by: int) -> Tensor:
        """The same step by the torch decoder, whose cache it moves on."""
        place = place_at(self.decoder, self.positions + by, self.columns)
        return F.linear(decode(self.decoder, fused_layer, self.x, place, cache), self.head).float()
