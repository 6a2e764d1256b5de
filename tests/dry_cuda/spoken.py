"""The families that the laws of the emulated device run over, and an engine over one of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from engines.assemble import load_engine, open_bundle
from engines.config import DeviceChoice, DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.bundle import Bundle as AnyBundle
from engines.families.shipped import SHIPPED
from engines.messages import Append, Chunk, EndText, Event, Failed, Finished, Submit
from tests.dry_cuda.voice import emulation, form_of

SLOTS = 4
_BUNDLES = Path(os.environ.get("DRY_BUNDLES", "/nowhere"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    family: str
    shipped: str = ""  # the name of a bundle that ships
    voice: str
    text: str
    short: str
    dtype: str  # of the GPU form. The CPU provider has no grouped attention with norms, nor with one head a key

    @property
    def name(self) -> str:
        return self.shipped or self.family

    @property
    def bundle(self) -> AnyBundle:
        return _bundle(self.name)

    @property
    def form(self) -> Path:
        return form_of(self.bundle, self.dtype).folder

    def config(self, drafts: DraftMode = DraftMode.OFF, *, deterministic: bool = False) -> EngineConfig:
        return EngineConfig(
            slots=SLOTS,
            device=DeviceChoice.CUDA,
            gpu_form=self.form,
            deterministic=deterministic,
            drafts=drafts,
            sheds=False,
            workers=False,
        )

    def engine(self, drafts: DraftMode = DraftMode.OFF, *, deterministic: bool = False) -> Engine:
        emulation()
        made = load_engine(self.bundle, self.config(drafts, deterministic=deterministic))
        assert made.stats().device.startswith("cuda:0"), made.stats().device
        return made


FAMILIES = (
    Spoken(
        family="phone_pointer",
        shipped="natural",
        voice="af_heart",
        text="The fog came down over the harbour, and nothing moved.",
        short="On and on and on it went.",
        dtype="float16",
    ),
    Spoken(
        family="phone_pointer",
        shipped="flite",
        voice="slt",
        text="The fog came down over the harbour, and nothing moved.",
        short="On and on and on it went.",
        dtype="float16",
    ),
    Spoken(
        family="qwen3_tts",
        voice="serena",
        text="Hello world, the quick brown fox speaks. Good morning everyone!",
        short="Hello.",
        dtype="float32",
    ),
    Spoken(
        family="pocket",
        voice="alba",
        text="Hello there, this is a first sentence to say. And here is another one.",
        short="Hello.",
        dtype="float32",
    ),
)


@cache
def _bundle(name: str) -> AnyBundle:
    if name in SHIPPED:
        return open_bundle(Path(name))
    folder = _BUNDLES / name / "bundle"
    if not folder.is_dir():
        pytest.skip(f"no bundle of {name} at hand: it needs torch, see tests/dry_cuda/run.py")
    return open_bundle(folder)


def submit(engine: Engine, name: str, voice: str, seed: int, text: str) -> None:
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
