"""The ONNX graphs that a GPU will be measured with: right on the CPU provider, in place, without copies."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the measurements need torch")
onnx = pytest.importorskip("onnx", reason="the measurements need onnx")

from loadtests.gpu.decoder import Cache
from loadtests.gpu.onnx_graphs import Variant, decoder_graph
from loadtests.gpu.ort_attention import COLUMNS, PASTS, bind_case, judge, random_case
from loadtests.gpu.ort_session import CPU_PROVIDER, bind, node_places, open_session
from loadtests.gpu.ort_step import StepJob
from loadtests.gpu.reference64 import attention64, decoder64, relative_error
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import TINY

SETTING = Setting(device="cpu", is_tiny=True, deadline_s=time.monotonic() + 1e6)
STEP_VARIANTS = [variant for variant in Variant if variant.is_in_place]


@pytest.mark.parametrize("variant", list(Variant), ids=lambda variant: variant.name)
@pytest.mark.parametrize("tokens", [1, 4])
def test_attention_equals_float64(variant: Variant, tokens: int) -> None:
    if variant is Variant.GROUP_QUERY and tokens > 1:
        with pytest.raises(Exception, match="batch_size must be 1"):
            judge(SETTING, TINY.talker, torch.float32, variant, tokens)
        return
    for dtype, bound in ((torch.float32, 1e-6), (torch.float16, 4e-3)):
        found = judge(SETTING, TINY.talker, dtype, variant, tokens)
        assert isinstance(found["error"], float)
        assert found["error"] < bound
        assert found.get("cache_is_right", True) is True


def test_a_wrong_length_is_seen_as_an_error() -> None:
    """The judge can fail: one column too few changes the answer."""
    case = random_case(TINY.talker, PASTS, 4, COLUMNS, torch.float32, "cpu")
    bound = bind_case(SETTING, case, Variant.CAUSAL_LENGTH)
    bound.tensors["length"].sub_(1)
    bound.run()
    assert relative_error(bound.tensors["seen out"].numpy(), case.wanted()) > 0.01


def test_attention64_of_one_column_is_its_value() -> None:
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(4, 1, 8)), rng.normal(size=(2, 3, 8)), rng.normal(size=(2, 3, 8))
    allowed = np.array([[False, True, False]])
    np.testing.assert_allclose(attention64(query, key, value, allowed)[:, 0], value[[0, 0, 1, 1], 1])
    assert not attention64(query, key, value, np.zeros((1, 3), bool)).any()


@pytest.mark.parametrize("variant", STEP_VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("is_contrib", [False, True])
def test_decoder_steps_equal_torch_and_move_on_in_place(variant: Variant, is_contrib: bool) -> None:
    if variant is Variant.FLAT_MASK:
        pytest.skip("measured as attention alone: its cache has another layout")
    tokens = 1 if variant is Variant.GROUP_QUERY else 3
    job = StepJob.random(SETTING, TINY.talker, torch.float32, rows=3, tokens=tokens)
    model = decoder_graph(job.decoder, job.head, job.columns, variant, is_contrib)
    if not is_contrib:
        onnx.checker.check_model(model)
    inputs, outputs = job.buffers(variant)
    bound = bind(open_session(model, SETTING), inputs, outputs)
    twin = Cache([slab.clone() for slab in job.history.keys], [slab.clone() for slab in job.history.values])
    for by in range(3):
        job.move(inputs, by)
        bound.run()
        wanted = job.torch_logits(twin, by)
        assert relative_error(outputs["logits"].numpy(), wanted.numpy()) < 1e-5
    written = inputs["past_key0"].transpose(1, 2).reshape(twin.keys[0].shape)
    used = (torch.arange(job.columns) <= job.positions[:, -1:] + 2).flatten()
    torch.testing.assert_close(written[used], twin.keys[0][used], atol=1e-5, rtol=1e-5)
    assert not torch.equal(written[used], job.history.keys[0][used])


def test_a_decoder_from_an_empty_cache_equals_float64() -> None:
    job = StepJob.random(SETTING, TINY.talker, torch.float32, rows=2, tokens=6)
    job = replace(job, positions=torch.arange(6).repeat(2, 1))
    inputs, outputs = job.buffers(Variant.CAUSAL_LENGTH)
    model = decoder_graph(job.decoder, job.head, job.columns, Variant.CAUSAL_LENGTH)
    bind(open_session(model, SETTING), inputs, outputs).run()
    for row in range(2):
        wanted = decoder64(job.decoder, job.x[row].double().numpy()) @ job.head.double().numpy().T
        assert relative_error(outputs["logits"][row].numpy(), wanted) < 1e-5


def test_profile_places_every_node_and_finds_no_copy() -> None:
    job = StepJob.random(SETTING, TINY.talker, torch.float32, rows=2, tokens=1)
    inputs, outputs = job.buffers(Variant.MASK)
    places = node_places(decoder_graph(job.decoder, job.head, job.columns, Variant.MASK), SETTING, inputs, outputs)
    assert places.by_provider[CPU_PROVIDER] > 20
    assert (places.copies, places.strays) == (0, {})


def test_bfloat16_graphs_are_well_formed() -> None:
    """The CPU provider has no bfloat16 products, so only the graph is checked."""
    job = StepJob.random(SETTING, TINY.talker, torch.bfloat16, rows=1, tokens=1)
    model = decoder_graph(job.decoder, job.head, job.columns, Variant.CAUSAL_LENGTH)
    onnx.checker.check_model(model, full_check=True)
    weight = next(weight for weight in model.graph.initializer if weight.name == "head")
    got = torch.frombuffer(bytearray(weight.raw_data), dtype=torch.bfloat16).view(*weight.dims)
    assert torch.equal(got, job.head.T)
