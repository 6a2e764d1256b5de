"""Our kernels for the vocoder's blocks and frames against the nodes that they stand for, in the shipped graph."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.runtime import kernels
from engines.runtime.kernels import FORMS
from engines.runtime.ort import ort
from models.cpu_networks import spectrum_model
from models.fold_vocoder import BLOCK, FRAMES
from tests.kernels.graphs import Array, session, stock

STATES = ("coarse", "fine", "phase", "tail")


def graph(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.folder / bundle.vocoder.file)


@cache
def both(form: str) -> tuple[ort.InferenceSession, ort.InferenceSession]:
    model = graph(load_bundle(Path("flite")))
    return session(model, form), stock(model)


def inputs(bundle: Bundle, rows: int, codes: int) -> dict[str, Array]:
    """Of streams under way, each with a past of its own, a mix of voices and a pitch."""
    rng = np.random.default_rng([rows, codes])
    voices = rng.uniform(0, 1, (rows, len(bundle.voices))).astype(np.float32)
    vocoder = spectrum_model(bundle, own_kernels="off")
    spoken, state = 5, vocoder.initial_state(rows)
    pitch, samples = rng.uniform(0.6, 1.6, rows).astype(np.float32), bundle.samples_per_code
    all_codes = rng.integers(0, bundle.codes.count, (rows, spoken + codes))
    drawn = np.stack([noise(row, 0, bundle.look_back + (spoken + codes) * samples) for row in range(rows)])
    weights = voices / voices.sum(1, keepdims=True)
    first = drawn[:, : bundle.look_back + spoken * samples]
    _, state = vocoder.run(all_codes[:, :spoken, None], weights, pitch, first, state)
    given = {"codes": all_codes[:, spoken:], "voices": weights, "pitch": pitch, "noise": drawn[:, spoken * samples :]}
    return given | state


def run(one: ort.InferenceSession, given: dict[str, Array]) -> dict[str, Array]:
    return dict(zip([end.name for end in one.get_outputs()], one.run(None, given), strict=True))


@pytest.mark.parametrize(("rows", "codes"), [(1, 1), (1, 3), (2, 8), (5, 4), (3, 25), (17, 2), (1, 70)])
def test_they_say_what_the_runtimes_nodes_say(form: str, bundle: Bundle, rows: int, codes: int) -> None:
    """int8 now and then makes a whole step of a last bit, and with F0 a pulse moves: nearly everything is equal to a
    part in a million, and the rest is near."""
    ours, theirs = both(form)
    given = inputs(bundle, rows, codes)
    found, wanted = run(ours, given), run(theirs, given)
    for name in ("spectrum", "coarse_out", "fine_out", "tail_out"):
        assert found[name].shape == wanted[name].shape
        apart = np.abs(found[name] - wanted[name])
        assert np.median(apart) <= 2e-6 * wanted[name].std(), name
        assert (apart**2).sum() <= 1e-3 * (wanted[name] ** 2).sum(), name


def test_rows_are_independent(form: str, bundle: Bundle) -> None:
    ours, _ = both(form)
    given = inputs(bundle, 19, 3)
    found = run(ours, given)
    for row in range(19):
        alone = run(ours, {name: value[row : row + 1] for name, value in given.items()})
        assert all(np.array_equal(alone[name][0], found[name][row]) for name in found)


@pytest.mark.parametrize("sizes", [[1] * 12, [2, 5, 4, 1], [7, 5], [11, 1]])
def test_chunks_have_the_bits_of_the_whole(form: str, bundle: Bundle, sizes: list[int]) -> None:
    ours, _ = both(form)
    given, samples = inputs(bundle, 3, 12), bundle.samples_per_code
    whole = run(ours, given)
    state, parts, at = {name: given[name] for name in STATES}, [], 0
    for size in sizes:
        chunk = given | state
        chunk["codes"] = given["codes"][:, at : at + size]
        chunk["noise"] = given["noise"][:, at * samples : bundle.look_back + (at + size) * samples]
        found = run(ours, chunk)
        parts.append(found["spectrum"])
        state, at = {name: found[f"{name}_out"] for name in STATES}, at + size
    assert np.array_equal(np.concatenate(parts, 1), whole["spectrum"])
    assert all(np.array_equal(state[name], whole[f"{name}_out"]) for name in STATES)


def test_two_threads_change_no_bit(form: str, bundle: Bundle) -> None:
    ours, _ = both(form)
    given = inputs(bundle, 6, 8)
    one, two = run(ours, given), run(session(graph(bundle), form, threads=2), given)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_phase_is_the_runtimes(form: str, bundle: Bundle) -> None:
    """It is counted in whole numbers, 2^32 a turn; a last bit of F0 moves it by millionths."""
    ours, theirs = both(form)
    given = inputs(bundle, 8, 4)
    found, wanted = run(ours, given)["phase_out"], run(theirs, given)["phase_out"]
    assert ((found >= 0) & (found < 2**32)).all()
    apart = (found - wanted + 2**31) % 2**32 - 2**31
    assert np.median(np.abs(apart)) < 2**32 * 1e-6


@pytest.mark.parametrize("name", ["tail", "noise", "pitch"])
def test_what_is_no_number_is_seen_behind_them_and_stays_in_its_row(form: str, bundle: Bundle, name: str) -> None:
    ours, _ = both(form)
    given = inputs(bundle, 3, 2)
    sound = run(ours, given)["spectrum"]
    given[name][1] = np.nan
    found = run(ours, given)["spectrum"]
    assert not np.isfinite(found[1]).all()
    assert np.array_equal(found[[0, 2]], sound[[0, 2]])


def changed(bundle: Bundle, kind: str, place: int, value: Array | None) -> onnx.ModelProto:
    """The graph with another constant at one input of the first node of a kind, or with an input of the graph there."""
    model = graph(bundle)
    node = next(node for node in model.graph.node if node.op_type == kind)
    old = next(one for one in model.graph.initializer if one.name == node.input[place])
    if value is None:
        end = onnx.helper.make_tensor_value_info("given", old.data_type, list(old.dims))
        model.graph.input.append(end)
        node.input[place] = "given"
    else:
        model.graph.initializer.append(numpy_helper.from_array(value, "other"))
        node.input[place] = "other"
    return model


@pytest.mark.parametrize(
    ("kind", "place", "value", "complaint"),
    [
        (BLOCK, 14, None, "must be constant"),
        (BLOCK, 2, None, "must be constant"),
        (BLOCK, 2, np.zeros(3, np.float32), "do not fit each other"),
        (BLOCK, 13, np.array(1, np.int8), "zero points must be 0"),
        (BLOCK, 20, np.zeros((128, 384), np.int8), "lead back to its width"),
        (BLOCK, 14, np.zeros((24, 48), np.int8), "multiples of 16"),
        (BLOCK, 14, np.zeros((512, 768), np.int8), "at most 256"),
        (FRAMES, 20, np.ones((512, 514), np.float32), "Fourier transform"),
        (FRAMES, 20, None, "must be constant"),
        (FRAMES, 16, np.zeros(1025, np.float32), "one pulse"),
        (FRAMES, 15, np.zeros(4, np.float32), "do not fit each other"),
    ],
)
def test_graphs_that_are_not_offered(
    form: str, bundle: Bundle, kind: str, place: int, value: Any, complaint: str
) -> None:
    with pytest.raises(Exception, match=complaint):
        session(changed(bundle, kind, place, value), form)


def test_a_state_of_another_size_is_refused(form: str, bundle: Bundle) -> None:
    model = graph(bundle)
    for end in model.graph.input:
        if end.name in ("coarse", "tail"):
            end.type.tensor_type.shape.dim[-1 if end.name == "tail" else 2].dim_param = f"of_{end.name}"
    given = inputs(bundle, 2, 1)
    with pytest.raises(Exception, match="frames do not fit each other"):
        session(model, form).run(None, given | {"tail": given["tail"][:, 1:]})
    with pytest.raises(Exception, match="block do not fit each other"):
        session(model, form).run(None, given | {"coarse": given["coarse"][:, :, 1:]})


def test_the_vocoder_says_whose_kernels_it_runs(form: str, bundle: Bundle, tmp_path: Path) -> None:
    assert spectrum_model(bundle, own_kernels=form).kernels == f"ours, {form}"
    assert spectrum_model(bundle, own_kernels="off").kernels.startswith("the runtime's")
    (tmp_path / "vocoder.onnx").write_bytes(changed(bundle, BLOCK, 13, np.array(1, np.int8)).SerializeToString())
    kept = spectrum_model(msgspec.structs.replace(bundle, folder=tmp_path), own_kernels=form)
    assert "zero points" in kept.kernels


def test_the_forms_have_the_same_bits(bundle: Bundle) -> None:
    if not all(kernels.runs(one) for one in FORMS):
        pytest.skip(f"this processor does not run all of {', '.join(FORMS)}")
    given = inputs(bundle, 5, 6)
    one, other = (run(both(form)[0], given) for form in FORMS)
    assert all(np.array_equal(one[name], other[name]) for name in one)
