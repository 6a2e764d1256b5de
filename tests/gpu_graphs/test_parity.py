"""The GPU form against the float network of the same weights: 1e-5 in float32, 5e-3 in float16, on the CPU provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.families.base import Sampling
from engines.families.common.device_form import DeviceForm
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.overlap_add import OverlapAdd
from engines.families.shipped import SHIPPED
from engines.runtime.device_backend import DeviceBackend
from engines.runtime.ort import ort
from models.gpu_graphs.__main__ import export
from models.gpu_graphs.host import HostDevice
from models.gpu_graphs.lm import Attend, decode, verify
from models.gpu_graphs.synthesis import hop_at, window_at
from models.gpu_graphs.vocoder import state_shapes, vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights
from tests.gpu_graphs.reference import float_session, session

POSITIONS, ROWS, STEPS = 24, 3, 5
Arrays = dict[str, np.ndarray[Any, Any]]
WITHIN = {"float32": 1e-5, "float16": 5e-3}
if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the GPU form's operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(Path("flite"))


@pytest.fixture(scope="module")
def lm(bundle: Bundle) -> LmWeights:
    return LmWeights.of(bundle)


def run(made: Any, feeds: Arrays) -> Arrays:
    names = [one.name for one in made.get_outputs()]
    return dict(zip(names, made.run(names, feeds), strict=True))


def caches(lm: LmWeights, dtype: str) -> Arrays:
    slab = np.zeros((ROWS, 1, POSITIONS, lm.head_dim), dtype)
    return {f"past_{kind}{layer}": slab for layer in range(len(lm.layers)) for kind in "kv"}


def kept(outputs: Arrays) -> Arrays:
    return {name.replace("present", "past"): value for name, value in outputs.items() if name.startswith("present")}


def contexts(bundle: Bundle, steps: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Rows [B, steps, R - 1] that the table has."""
    rng, offsets = np.random.default_rng(seed), bundle.adapter.offsets
    phones = np.arange(len(bundle.adapter.window)) * bundle.adapter.num_phone_ids + offsets["phones"]
    firsts = [*phones, *(offsets[name] for name in ("since", "left", "following", "to_pause", "pause_type", "speaker"))]
    ends = [*firsts[1:], offsets["speaker"] + len(bundle.voices)]
    picked = [rng.integers(first, end, (ROWS, steps)) for first, end in zip(firsts, ends, strict=True)]
    return np.stack(picked, axis=-1)


def sampling(shape: tuple[int, ...], scale: float = 1.0) -> Arrays:
    """Places of `shape` in a table that is zero at its start and noise behind."""
    rng = np.random.default_rng(7)
    table = np.concatenate([np.zeros(4096), rng.gumbel(size=60_000)]).astype(np.float32)
    places = rng.integers(4096, 50_000, shape) if scale != 1.0 else np.zeros(shape, np.int64)
    return {"temperature": np.full(shape[0], scale, np.float32), "noise_at": places, "noise_table": table}


class Reference:
    """The shipped LM in float, step by step, with its own cache."""

    def __init__(self, bundle: Bundle, lm: LmWeights) -> None:
        self._made, self._cache, self._length = float_session(bundle, bundle.lm.file), caches(lm, "float32"), 0

    def logits(self, last: np.ndarray[Any, Any], context: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        feeds = {
            "features": np.concatenate([last[:, None], context], axis=1)[:, None],
            "seqlens_k": np.full(ROWS, self._length, np.int32),
            "total_len": np.array([self._length + 1], np.int32),
        }
        outputs = run(self._made, feeds | self._cache)
        self._cache, self._length = kept(outputs), self._length + 1
        return outputs["code_logits"][:, 0]


def close(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], within: float) -> None:
    assert np.abs(found - wanted).max() <= within * np.abs(wanted).max()


@pytest.mark.parametrize("dtype", list(WITHIN))
@pytest.mark.parametrize("attend", list(Attend))
def test_decode_equals_the_float_network(bundle: Bundle, lm: LmWeights, dtype: str, attend: Attend) -> None:
    made, reference = session(decode(lm, dtype, POSITIONS, attend, shows_logits=True)), Reference(bundle, lm)
    cache, last = caches(lm, dtype), np.full(ROWS, bundle.codes.begin)
    for step, context in enumerate(contexts(bundle, 12).swapaxes(0, 1)):
        wanted = reference.logits(last, context)
        feeds = {"context": context, "last": last, "is_active": np.ones(ROWS, bool)}
        feeds |= {"lengths": np.full(ROWS, step, np.int32), **sampling((ROWS,)), **cache}
        outputs = run(made, feeds)
        close(outputs["logits"], wanted, WITHIN[dtype])
        assert np.array_equal(outputs["last_out"], outputs["frames"])
        cache, last = kept(outputs), wanted.argmax(axis=1)


@pytest.mark.parametrize("dtype", list(WITHIN))
def test_verify_equals_the_float_network_step_by_step(bundle: Bundle, lm: LmWeights, dtype: str) -> None:
    """Ragged rows: each has its own length, and what an earlier verify wrote behind it is written over."""
    made, reference = session(verify(lm, dtype, POSITIONS, STEPS, shows_logits=True)), Reference(bundle, lm)
    cache, last, done = caches(lm, dtype), np.full(ROWS, bundle.codes.begin), 0
    context = contexts(bundle, 3 * STEPS)
    codes = np.random.default_rng(1).integers(0, bundle.codes.count, (ROWS, 3 * STEPS))
    for keeps in (STEPS, 2, STEPS):
        window = slice(done, done + STEPS)
        feeds = {"context": context[:, window], "last": last, "drafted": codes[:, window][:, :-1]}
        feeds |= {"lengths": np.full(ROWS, done, np.int32), **sampling((ROWS, STEPS)), **cache}
        outputs = run(made, feeds)
        for step in range(keeps):
            before = codes[:, done + step - 1] if done + step else last
            wanted = reference.logits(before, context[:, done + step])
            close(outputs["logits"][:, step], wanted, WITHIN[dtype])
        cache, done = kept(outputs), done + keeps
        last = codes[:, done - 1]


def test_decode_and_verify_share_slabs(bundle: Bundle, lm: LmWeights) -> None:
    """A step decoded over what a verify wrote, and the other way round, equals the same steps all decoded."""
    both, context = [], contexts(bundle, 6)
    one, several = session(decode(lm, "float32", POSITIONS)), session(verify(lm, "float32", POSITIONS, STEPS))
    for verified in (False, True):
        cache, last, frames, step = caches(lm, "float32"), np.full(ROWS, bundle.codes.begin), [], 0
        if verified:
            drafted = both[0][:, : STEPS - 1]
            feeds = {"context": context[:, :STEPS], "last": last, "drafted": drafted}
            outputs = run(several, feeds | {"lengths": np.zeros(ROWS, np.int32), **sampling((ROWS, STEPS)), **cache})
            frames, cache, last, step = [outputs["frames"]], kept(outputs), outputs["frames"][:, -1], STEPS
        for at in range(step, 6):
            feeds = {"context": context[:, at], "last": last, "is_active": np.ones(ROWS, bool)}
            outputs = run(one, feeds | {"lengths": np.full(ROWS, at, np.int32), **sampling((ROWS,)), **cache})
            frames, cache, last = [*frames, outputs["frames"][:, None]], kept(outputs), outputs["frames"]
        both.append(np.concatenate(frames, axis=1))
    assert np.array_equal(*both)


def test_sampling_is_argmax_of_scaled_logits_and_noise(bundle: Bundle, lm: LmWeights) -> None:
    made = session(decode(lm, "float32", POSITIONS, shows_logits=True))
    feeds = {"context": contexts(bundle, 1)[:, 0], "last": np.full(ROWS, 4096), "is_active": np.ones(ROWS, bool)}
    drawn = sampling((ROWS,), scale=0.7)
    outputs = run(made, feeds | drawn | {"lengths": np.zeros(ROWS, np.int32), **caches(lm, "float32")})
    for row, at in enumerate(drawn["noise_at"]):
        noisy = outputs["logits"][row] / np.float32(0.7) + drawn["noise_table"][at : at + bundle.codes.count]
        assert outputs["frames"][row] == noisy.argmax()
    assert len(set(outputs["frames"].tolist())) > 1


def test_an_idle_row_keeps_its_last_frame(bundle: Bundle, lm: LmWeights) -> None:
    made, active = session(decode(lm, "float32", POSITIONS)), np.array([True, False, True])
    feeds = {"context": contexts(bundle, 1)[:, 0], "last": np.array([4096, 17, 4096]), "is_active": active}
    outputs = run(made, feeds | sampling((ROWS,)) | {"lengths": np.zeros(ROWS, np.int32), **caches(lm, "float32")})
    assert outputs["last_out"][1] == 17
    assert np.array_equal(outputs["last_out"][active], outputs["frames"][active])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_told_and_no_other(bundle: Bundle, lm: LmWeights, poison: float) -> None:
    made, cache = session(decode(lm, "float32", POSITIONS)), caches(lm, "float32")
    cache["past_v3"] = cache["past_v3"].copy()
    cache["past_v3"][1, 0, 0] = poison
    feeds = {"context": contexts(bundle, 1)[:, 0], "last": np.full(ROWS, 4096), "is_active": np.ones(ROWS, bool)}
    outputs = run(made, feeds | sampling((ROWS,)) | {"lengths": np.full(ROWS, 3, np.int32), **cache})
    assert np.isfinite(outputs["scores"]).tolist() == [True, False, True]


class Sound:
    """The GPU vocoder over slabs for five slots; the shipped one in float beside it."""

    def __init__(self, bundle: Bundle, dtype: str) -> None:
        self.bundle, sound = bundle, VocoderWeights.of(bundle)
        self.made = session(vocoder(sound, dtype))
        self.reference = float_session(bundle, bundle.vocoder.file)
        sizes = sum(int(np.prod(shape)) for shape in state_shapes(sound))
        rng = np.random.default_rng(3)
        self.slabs: Arrays = {
            "state": np.full((5, sizes), np.nan, np.float32),  # a slot begins clean whatever it held
            "phase": np.full(5, 99, np.int64),
        }
        self.table = rng.normal(size=30_000).astype(np.float32)
        self.states: Arrays = {one.name: np.zeros((2, *one.shape), one.dtype) for one in bundle.vocoder.states}
        self.slots = np.array([3, 1])
        self.voices = np.zeros((2, len(bundle.voices)), np.float32)
        self.voices[0, 0], self.voices[1, :2] = 1, 0.5
        self.pitch = np.array([1.0, 1.3], np.float32)

    def gpu(self, made: np.ndarray[Any, Any], first: int) -> Arrays:
        """made [2, N, W]"""
        frames = made.shape[1] * self.bundle.frames_per_code
        feeds = {
            **self.bundle.vocoder.feeds(made), "voices": self.voices, "pitch": self.pitch, "slots": self.slots,
            "begins": np.full(2, first == 0), "noise_at": np.array([100, 900]) + first * self.bundle.samples_per_code,
            "noise_table": self.table, "window_at": window_at(frames), "hop_at": hop_at(frames),
        }  # fmt: skip
        outputs = run(self.made, feeds | self.slabs)
        self.slabs = {"state": outputs["state_out"], "phase": outputs["phase_out_slots"]}
        return outputs | {"samples": outputs["samples"].reshape(2, -1)}

    def shipped(self, made: np.ndarray[Any, Any], first: int) -> Arrays:
        count = self.bundle.look_back + made.shape[1] * self.bundle.samples_per_code
        starts = np.array([100, 900]) + first * self.bundle.samples_per_code
        noise = np.stack([self.table[start : start + count] for start in starts])
        feeds = {**self.bundle.vocoder.feeds(made), "voices": self.voices, "pitch": self.pitch, "noise": noise}
        outputs = run(self.reference, feeds | self.states)
        self.states = {name: outputs[f"{name}_out"] for name in self.states}
        return outputs


@pytest.fixture(params=["bundle", "seeing"])
def sounding(request: pytest.FixtureRequest) -> Bundle:
    """With a vocoder that sees codes alone, and with one that sees the text."""
    found: Bundle = request.getfixturevalue(request.param)
    return found


def drawn(bundle: Bundle, count: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(2)
    made = rng.integers(0, 900, (2, count, bundle.frame_width))
    made[..., 0] = rng.integers(0, bundle.codes.count, (2, count))
    return made


@pytest.mark.parametrize("dtype", list(WITHIN))
@pytest.mark.parametrize("shipped", SHIPPED)
def test_vocoder_equals_the_float_network(shipped: str, dtype: str) -> None:
    """The phase of the pulses adds up F0's last bits, so that later jobs come apart by a few 1e-5. The natural voice's
    vocoder sees the text, and creaks."""
    bundle = load_bundle(Path(shipped))
    both, first = Sound(bundle, dtype), 0
    made = drawn(bundle, 11)
    for count in (2, 8, 1):
        part = made[:, first : first + count]
        found, wanted = both.gpu(part, first), both.shipped(part, first)
        close(found["spectrum"], wanted["spectrum"], WITHIN[dtype] * (1 if first == 0 else 10))
        first += count


def test_a_vocoder_that_sees_equals_the_float_network(seeing: Bundle) -> None:
    """The first job: an untrained F0 leaps, and its last bits add up in the phase."""
    made = drawn(seeing, 2)
    wanted = Sound(seeing, "float32").shipped(made, 0)["spectrum"]
    close(Sound(seeing, "float32").gpu(made, 0)["spectrum"], wanted, WITHIN["float32"])
    blind = made * np.eye(1, seeing.frame_width, dtype=np.int64)
    assert not np.allclose(Sound(seeing, "float32").gpu(blind, 0)["spectrum"], wanted, atol=0.01)


def test_samples_are_the_overlapped_spectrum_in_any_chunks(sounding: Bundle) -> None:
    made, rate = drawn(sounding, 12), OverlapAdd(sounding, 16_000)
    whole = Sound(sounding, "float32").gpu(made, 0)
    wanted, tail = rate.run(whole["spectrum"], np.stack([rate.start()] * 2))
    done = 12 * sounding.samples_per_code
    close(whole["samples"][:, :done], wanted, 1e-5)
    close(whole["samples"][:, done : done + rate.look_back], tail, 1e-5)
    for cut in (1, 3, 4):
        pieces, streamed = [], Sound(sounding, "float32")
        for first in range(0, 12, cut):
            found = streamed.gpu(made[:, first : first + cut], first)["samples"]
            pieces.append(found[:, : cut * sounding.samples_per_code])
        pieces.append(found[:, cut * sounding.samples_per_code :])
        assert np.array_equal(np.concatenate(pieces, axis=1), whole["samples"])


def test_other_slots_are_left_alone(bundle: Bundle) -> None:
    both = Sound(bundle, "float32")
    both.slabs["state"][:] = np.arange(5)[:, None]
    both.gpu(np.ones((2, 2, 1), np.int64), 0)
    for slot in (0, 2, 4):
        assert (both.slabs["state"][slot] == slot).all()
        assert both.slabs["phase"][slot] == 99


def test_the_speech_model_steps_on_the_host(bundle: Bundle, tmp_path: Path) -> None:
    """The device's Talker over the CPU provider, as the judge of a form runs it: a slot begins anew."""
    backend: DeviceBackend = HostDevice()
    talker = DeviceTalker(bundle, DeviceForm.load(export(bundle, tmp_path, "float32").parent, bundle), backend, 2)
    talker.warm_up()
    rows, found = contexts(bundle, 4)[:1], []
    for _ in range(2):
        lengths = np.array([talker.begin(1, None)])
        for step in range(4):
            keys = np.array([(3, step)])
            one = np.array([1])
            pending = talker.step(one, rows[:, step : step + 1], one, lengths + step, [Sampling()], keys, None)
            found.append(int(pending.wait().frames[0, 0, 0]))
        talker.release(1)
    assert found[:4] == found[4:]
    assert len(set(found)) > 1
