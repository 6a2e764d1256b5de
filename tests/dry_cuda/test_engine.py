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

import numpy as np
import pytest

pytest.importorskip("onnx")

from engines.assemble import load_engine
from engines.config import DraftMode
from engines.engine import Engine
from engines.messages import Append, Cancel, Cancelled, EndText, Finished, Submit
from tests.dry_cuda.conftest import IS_DRY
from tests.dry_cuda.log import Log
from tests.dry_cuda.spoken import FAMILIES, SLOTS, Spoken, heard, submit
from tests.dry_cuda.voice import emulation

CANCELS = int(os.environ.get("DRY_CANCELS", "200"))
ROUNDS = 20  # of the loop before a cancel, at most: from before the first step to behind the end


@pytest.fixture(autouse=True)
def _emulated(log: Log) -> Iterator[None]:
    emulation().failures.clear()
    yield
    assert not emulation().failures


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda one: one.family)
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
