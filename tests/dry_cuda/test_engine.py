"""The whole engine on the emulated device, for every family: the laws that a listener hears, cancels, the fallback."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from engines.assemble import load_engine
from engines.config import DraftMode
from engines.engine import Engine
from engines.errors import EngineFault
from engines.families.base import Sampling
from engines.families.on_a_device import _makers_of
from engines.messages import Append, Cancel, Cancelled, EndText, Finished, Submit
from engines.runtime.base import IntArray
from engines.runtime.onnx_cuda import OnnxCuda
from tests.dry_cuda.conftest import IS_DRY
from tests.dry_cuda.log import Log
from tests.dry_cuda.spoken import FAMILIES, SLOTS, Spoken, heard, submit
from tests.dry_cuda.voice import emulation, form_of

CANCELS = int(os.environ.get("DRY_CANCELS", "200"))
ROUNDS = 20  # of the loop before a cancel, at most: from before the first step to behind the end


@pytest.fixture(autouse=True)
def _emulated(log: Log) -> Iterator[None]:
    emulation().failures.clear()
    yield
    assert not emulation().failures


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda one: one.name)
def spoken(request: pytest.FixtureRequest) -> Spoken:
    if not IS_DRY:
        pytest.skip("the pretended CUDA libraries are not loaded here; `make test-gpu-dry` runs this")
    found: Spoken = request.param
    return found


@pytest.fixture(scope="module")
def engine(spoken: Spoken) -> Engine:
    return spoken.engine()


def alone(engine: Engine, spoken: Spoken, seed: int = 1, text: str | None = None) -> bytes:
    submit(engine, "alone", spoken.voice, seed, text or spoken.text)
    return heard(engine, "alone")["alone"]


def test_speech_is_made_and_the_seed_decides(engine: Engine, spoken: Spoken) -> None:
    first = alone(engine, spoken)
    assert len(first) > 2 * 16_000
    assert np.abs(np.frombuffer(first, np.int16)).max() > 0
    assert alone(engine, spoken) == first
    assert alone(engine, spoken, seed=2) != first


def test_neighbours_change_nothing(engine: Engine, spoken: Spoken) -> None:
    texts = {f"row-{at}": f"{spoken.text} {'And on.' * at}" for at in range(SLOTS)}
    events = []
    for at, (name, text) in enumerate(texts.items()):
        submit(engine, name, spoken.voice, at, text)
        events += engine.step()
    together = heard(engine, *texts, before=events)
    for at, (name, text) in enumerate(texts.items()):
        assert together[name] == alone(engine, spoken, at, text), name


def test_words_one_by_one_give_the_audio_of_the_whole_text(engine: Engine, spoken: Spoken) -> None:
    engine.submit(Submit(request_id="words", voice=spoken.voice, seed=1))
    events = []
    *words, last = spoken.text.split(" ")
    for word in [*(f"{word} " for word in words), last]:
        engine.submit(Append(request_id="words", text=word))
        events += engine.step()
    engine.submit(EndText(request_id="words"))
    assert heard(engine, "words", before=events)["words"] == alone(engine, spoken)


def test_drafts_change_nothing(engine: Engine, spoken: Spoken) -> None:
    if spoken.family != "phone_pointer":
        pytest.skip("this family has no drafts")
    drafting = spoken.engine(DraftMode.ON)
    assert alone(drafting, spoken) == alone(engine, spoken)
    assert drafting.stats().counters["drafts_accepted"] > 0


def test_one_call_verifies_drafts_of_several_streams(
    engine: Engine, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoken.family != "phone_pointer":
        pytest.skip("this family has no drafts")
    drafting, verified = spoken.engine(DraftMode.ON), list[int]()
    step = drafting.model.talker.step

    def counted(slots: IntArray, *others: Any) -> Any:
        verified.append(len(slots) if others[-1] is not None else 0)
        return step(slots, *others)

    monkeypatch.setattr(drafting.model.talker, "step", counted)
    texts = {f"row-{at}": f"{spoken.text} {'And on.' * at}" for at in range(SLOTS)}
    for at, (name, text) in enumerate(texts.items()):
        submit(drafting, name, spoken.voice, at, text)
    together = heard(drafting, *texts)
    assert max(verified) == SLOTS
    assert drafting.stats().counters["drafts_accepted"] > 0
    for at, (name, text) in enumerate(texts.items()):
        assert together[name] == alone(engine, spoken, at, text), name


class Watched:
    """Counts steps that are launched and not read."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unread, self.ahead, self._step = 0, 0, engine.model.talker.step
        monkeypatch.setattr(engine.model.talker, "step", self.step)

    def step(self, *told: Any) -> Any:
        pending = self._step(*told)
        self.unread += 1
        self.ahead += self.unread > 1

        def wait() -> Any:
            self.unread -= 1
            return pending.wait()

        return SimpleNamespace(wait=wait)


def test_only_a_planned_end_is_stepped_over(engine: Engine, spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen3-TTS and pocket-tts learn from a step that it was the last."""
    watched = Watched(engine, monkeypatch)
    alone(engine, spoken)
    assert (watched.ahead > 0) == (spoken.family == "phone_pointer")


def test_a_cancelled_streams_slot_is_used_again_under_its_step(
    engine: Engine, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoken.family != "phone_pointer":
        pytest.skip("this family launches no step ahead")
    wanted = alone(engine, spoken, 2), alone(engine, spoken, 3)
    watched, used = Watched(engine, monkeypatch), 0
    for rounds in range(8, 40):
        submit(engine, "cancelled", spoken.voice, 1, spoken.text)
        submit(engine, "other", spoken.voice, 3, spoken.text)
        events = [event for _ in range(rounds) for event in engine.step()]
        ended = engine.sequences.get("cancelled")
        if ended is None or not watched.unread:
            heard(engine, *engine.sequences, before=events)
            continue
        slot, made = ended.slot, ended.made
        engine.submit(Cancel(request_id="cancelled"))
        submit(engine, "next", spoken.voice, 2, spoken.text)
        events += engine.attend()
        used += engine.sequences["next"].slot == slot and watched.unread
        both = heard(engine, "next", "other", before=[one for one in events if one.request_id != "cancelled"])
        assert (both["next"], both["other"]) == wanted
        assert ended.made == made
    assert used > 5
    engine.check_integrity()


def test_drafts_in_turns_with_steps_launched_ahead(
    engine: Engine, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoken.family != "phone_pointer":
        pytest.skip("this family has no drafts")
    drafting = spoken.engine(DraftMode.ON)
    watched, speculation = Watched(drafting, monkeypatch), drafting._steps._speculation
    assert speculation is not None
    texts, events, round_ = {f"row-{at}": f"{spoken.text} {'And on.' * at}" for at in range(SLOTS)}, [], 0
    for at, (name, text) in enumerate(texts.items()):
        submit(drafting, name, spoken.voice, at, text)
    while not drafting.empty:
        speculation.pays = (round_ % 7 < 2,) * SLOTS
        events += drafting.step()
        round_ += 1
    together = heard(drafting, *texts, before=events)
    assert watched.ahead > 0
    assert drafting.stats().counters["drafts_accepted"] > 0
    for at, (name, text) in enumerate(texts.items()):
        assert together[name] == alone(engine, spoken, at, text), name


def test_a_step_beyond_the_slot_is_refused(spoken: Spoken) -> None:
    """A device writes an index beyond the cache at its end, silently; so does a prompt's block. Nothing is captured."""
    bundle: Any = spoken.bundle
    talker = _makers_of(bundle).talker(bundle, form_of(bundle, spoken.dtype), OnnxCuda(), 2)
    slot, one, keys, beyond = (
        np.zeros(1, np.int64),
        np.ones(1, np.int64),
        np.zeros((1, 2), np.int64),
        np.full(1, 1 << 20),
    )
    with pytest.raises(EngineFault, match="a step would reach"):
        talker.step(slot, np.zeros((1, 1, 20), np.int64), one, beyond, [Sampling()], keys, None)
    if spoken.family != "phone_pointer":
        with pytest.raises(EngineFault, match="a prompt would reach"):
            talker.prefill(slot, np.zeros((1, 17), np.int64), np.array([0, 1]), beyond)


class TestKernelsThatDependOnTheShape:
    """As a device's may: only `deterministic` promises bits then."""

    @pytest.fixture(autouse=True)
    def _by_shape(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(emulation(), "by_shape", True)

    def together(self, engine: Engine, spoken: Spoken) -> bytes:
        """Of the first of three streams, whose text comes word by word."""
        *words, last = spoken.short.split(" ")
        engine.submit(Submit(request_id="words", voice=spoken.voice, seed=1))
        for seed in (2, 3):
            submit(engine, f"other-{seed}", spoken.voice, seed, spoken.short)
        events = []
        for word in [*(f"{word} " for word in words), last]:
            engine.submit(Append(request_id="words", text=word))
            events += engine.step()
        engine.submit(EndText(request_id="words"))
        return heard(engine, "words", "other-2", "other-3", before=events)["words"]

    def test_deterministic_calls_have_one_shape(self, spoken: Spoken) -> None:
        plain = spoken.engine(deterministic=True)
        assert "deterministic: a step takes " in plain.stats().device
        wanted = alone(plain, spoken, text=spoken.short)
        assert self.together(plain, spoken) == wanted
        if spoken.family == "phone_pointer":
            drafting = spoken.engine(DraftMode.ON, deterministic=True)
            assert alone(drafting, spoken, text=spoken.short) == wanted
            assert self.together(drafting, spoken) == wanted
            assert drafting.stats().counters["drafts_accepted"] > 0

    def test_others_do_not(self, engine: Engine, spoken: Spoken) -> None:
        assert self.together(engine, spoken) != alone(engine, spoken, text=spoken.short)


def test_random_cancels_leave_nothing_held(engine: Engine, spoken: Spoken) -> None:
    """In batches, so that a cancelled stream has neighbours: DRY_CANCELS of them."""
    before, rng, ended, made = alone(engine, spoken), random.Random(11), 0, 0
    live: dict[str, int] = {}
    while made < CANCELS or live:
        while len(live) < SLOTS and made < CANCELS:
            live[f"cancel-{made}"] = rng.randrange(ROUNDS)
            submit(engine, f"cancel-{made}", spoken.voice, made, spoken.short)
            made += 1
        for name, left in list(live.items()):
            if left == 0:
                engine.submit(Cancel(request_id=name))
                del live[name]
            else:
                live[name] = left - 1
        ended += sum(isinstance(event, Cancelled | Finished) for event in engine.step())
    while not engine.empty:
        ended += sum(isinstance(event, Cancelled | Finished) for event in engine.step())
    engine.check_integrity()
    assert ended == CANCELS
    assert alone(engine, spoken) == before


def test_a_wrong_golden_leaves_the_cpu_to_serve(spoken: Spoken, tmp_path: Path) -> None:
    """Each golden that is compared by its size."""
    shutil.copytree(spoken.form, tmp_path, dirs_exist_ok=True)
    path, manifest = tmp_path / "goldens.npz", tmp_path / "gpu.json"
    with np.load(path) as stored:
        goldens = dict(stored)
    wrong = {"phone_pointer": "lm_keys", "qwen3_tts": "keys", "pocket": "frames"}[spoken.family]
    goldens[wrong] = goldens[wrong] + 1
    np.savez(path, **goldens)
    listed = json.loads(manifest.read_text())
    listed["files"]["goldens.npz"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(listed))
    refused = load_engine(spoken.bundle, replace(spoken.config(), gpu_form=tmp_path))
    assert refused.stats().device.startswith("cpu, not cuda: the "), refused.stats().device
    assert "differ from the goldens" in refused.stats().device
    assert len(alone(refused, spoken, text=spoken.short)) > 0
