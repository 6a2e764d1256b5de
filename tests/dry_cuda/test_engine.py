"""The whole engine on the emulated device: the laws that a listener hears, cancels at random, and the fallback."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from engines.assemble import load_engine
from engines.config import DeviceChoice, DraftMode, EngineConfig
from engines.engine import Engine
from engines.messages import Append, Cancel, Cancelled, Chunk, EndText, Event, Failed, Finished, Submit
from tests.dry_cuda.conftest import IS_DRY
from tests.dry_cuda.log import Log
from tests.dry_cuda.voice import BUNDLE, emulation, form

SLOTS, TEXT = 4, "The fog came down over the harbour, and nothing moved."


@pytest.fixture(autouse=True)
def _emulated(log: Log) -> Iterator[None]:
    emulation().failures.clear()
    yield
    assert not emulation().failures


def config(drafts: DraftMode = DraftMode.OFF) -> EngineConfig:
    return EngineConfig(
        slots=SLOTS, device=DeviceChoice.CUDA, gpu_form=form().folder, drafts=drafts, sheds=False, workers=False
    )


@pytest.fixture(scope="module")
def engine() -> Engine:
    if not IS_DRY:
        pytest.skip("the pretended CUDA libraries are not loaded here; `make test-gpu-dry` runs this")
    emulation()
    made = load_engine(BUNDLE, config())
    assert made.stats().device == "cuda:0"
    return made


def submit(engine: Engine, name: str, seed: int = 1, text: str = TEXT, voice: str = "slt") -> None:
    engine.submit(Submit(request_id=name, voice=voice, seed=seed))
    engine.submit(Append(request_id=name, text=text))
    engine.submit(EndText(request_id=name))


def heard(engine: Engine, *names: str, before: Iterable[Event] = ()) -> dict[str, bytes]:
    """`before`: events of steps that were made already."""
    pcm, open_names, events = dict.fromkeys(names, b""), set(names), [*before]
    while open_names:
        for event in [*events, *engine.step()]:
            match event:
                case Chunk(request_id=name, pcm=more):
                    pcm[name] += more
                case Finished(request_id=name):
                    open_names.discard(name)
                case Failed(request_id=name, message=message):
                    raise AssertionError(f"{name}: {message}")
        events = []
        if open_names and not engine.has_work:
            engine.wait(1.0)
    return pcm


def alone(engine: Engine, seed: int = 1, text: str = TEXT, voice: str = "slt") -> bytes:
    submit(engine, "alone", seed, text, voice)
    return heard(engine, "alone")["alone"]


def test_speech_is_made_and_the_seed_decides(engine: Engine) -> None:
    first = alone(engine)
    assert len(first) > 2 * 16_000 * 1.5
    assert np.abs(np.frombuffer(first, np.int16)).max() > 1000
    assert alone(engine) == first


def test_neighbours_change_nothing(engine: Engine) -> None:
    texts = {f"row-{at}": f"{TEXT} {'And on.' * at}" for at in range(SLOTS)}
    events = []
    for at, (name, text) in enumerate(texts.items()):
        submit(engine, name, at, text)
        events += engine.step()
    together = heard(engine, *texts, before=events)
    for at, (name, text) in enumerate(texts.items()):
        assert together[name] == alone(engine, at, text), name


def test_words_one_by_one_give_the_audio_of_the_whole_text(engine: Engine) -> None:
    engine.submit(Submit(request_id="words", voice="slt", seed=1))
    events = []
    for word in TEXT.split(" "):
        engine.submit(Append(request_id="words", text=word if word == "moved." else f"{word} "))
        events += engine.step()
    engine.submit(EndText(request_id="words"))
    assert heard(engine, "words", before=events)["words"] == alone(engine)


def test_drafts_change_nothing(engine: Engine) -> None:
    drafting = load_engine(BUNDLE, config(DraftMode.ON))
    assert alone(drafting) == alone(engine)
    assert drafting.stats().counters["drafts_accepted"] > 0


def test_random_cancels_leave_nothing_held(engine: Engine) -> None:
    rng, ended = random.Random(11), 0
    for number in range(300):
        name = f"cancel-{number}"
        submit(engine, name, number, "On and on and on it went.")
        events = [event for _ in range(rng.randrange(5)) for event in engine.step()]
        engine.submit(Cancel(request_id=name))
        events += engine.step()
        ended += sum(isinstance(event, Cancelled | Finished) for event in events)
    while not engine.empty:
        ended += sum(isinstance(event, Cancelled | Finished) for event in engine.step())
    engine.check_integrity()
    assert ended == 300
    assert alone(engine) == alone(engine)


def test_a_wrong_golden_leaves_the_cpu_to_serve(tmp_path: Path) -> None:
    shutil.copytree(form().folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "goldens.npz"
    with np.load(path) as stored:
        goldens = dict(stored)
    goldens["lm_keys"] = goldens["lm_keys"] + 1
    np.savez(path, **goldens)
    manifest = tmp_path / "gpu.json"
    manifest.write_text(manifest.read_text().replace(form().files["goldens.npz"], _sha256(path)))
    refused = load_engine(BUNDLE, replace(config(), gpu_form=tmp_path))
    assert refused.stats().device.startswith("cpu, not cuda: the LM's keys differ from the goldens")
    assert len(alone(refused)) > 0


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
