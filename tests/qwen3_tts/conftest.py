"""A tiny Qwen3-TTS bundle with random weights, exported as a user would, and an engine over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.config import EngineConfig
from engines.engine import Engine
from engines.engine_model import Model
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.family import Qwen3TtsFamily
from engines.messages import Append, Cancelled, Chunk, EndText, Event, Failed, Finished, Submit
from engines.runtime.onnx_cpu import OnnxCpu
from models.checkpoints.qwen3_tts.sizes import SIZES
from models.checkpoints.qwen3_tts.writer import write_checkpoint
from models.exporting.__main__ import main

MakeEngine = Callable[..., Engine]


def exported(folder: Path, kind: str, positions: int = 128) -> Bundle:
    write_checkpoint(folder / "checkpoint", SIZES["tiny"], kind)
    out = folder / "bundle"
    name = "Qwen3-TTS-12Hz-1.7B-" + {"base": "Base", "custom_voice": "CustomVoice"}[kind]
    arguments = [str(folder / "checkpoint"), "--out", str(out), "--positions", str(positions), "--name", name]
    assert main(arguments) == 0
    return Bundle.load(out)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(tmp_path_factory.mktemp("qwen3_tts"), "custom_voice")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One that clones voices. Tests that write use a copy, or a folder of voices elsewhere."""
    return exported(tmp_path_factory.mktemp("qwen3_tts_base"), "base")


@pytest.fixture(scope="session")
def backend() -> OnnxCpu:
    return OnnxCpu(1)


@pytest.fixture(scope="session")
def family(bundle: Bundle, backend: OnnxCpu) -> Qwen3TtsFamily:
    return Qwen3TtsFamily(bundle, backend)


@pytest.fixture(scope="session")
def make_engine(family: Qwen3TtsFamily, backend: OnnxCpu) -> MakeEngine:
    def make(slots: int = 6) -> Engine:
        model = Model(
            family=family,
            spec=family.spec(backend),
            talker=family.talker(backend, slots),
            vocoder=family.vocoder(backend, slots),
            drafter=None,
            arithmetic=backend.arithmetic,
        )
        return Engine(model, EngineConfig(slots=slots, workers=False, sheds=False))

    return make


@dataclass
class Heard:
    pcm: bytes = b""
    last: Event | None = None
    chunks: int = 0


@dataclass
class Streams:
    """What an engine sends, by request."""

    engine: Engine
    heard: dict[str, Heard] = field(default_factory=dict)

    def submit(self, name: str, seed: int = 1, voice: str = "serena", **options: object) -> None:
        self.heard[name] = Heard()
        frozen = tuple(sorted(options.items()))
        self.engine.submit(Submit(request_id=name, voice=voice, seed=seed, options=frozen))

    def say(self, name: str, parts: Iterable[str]) -> None:
        for part in parts:
            self.engine.submit(Append(request_id=name, text=part))
        self.engine.submit(EndText(request_id=name))

    def step(self) -> None:
        for event in self.engine.step():
            heard = self.heard[event.request_id]
            if isinstance(event, Chunk):
                heard.pcm += bytes(event.pcm)
                heard.chunks += 1
            if isinstance(event, Finished | Failed | Cancelled):
                heard.last = event

    def run(self, most: int = 5000) -> dict[str, Heard]:
        """Until all have ended."""
        for _ in range(most):
            if all(one.last is not None for one in self.heard.values()):
                return self.heard
            self.step()
        raise AssertionError(f"not ended after {most} rounds: {self.heard}")


def spoken(engine: Engine, text: str, seed: int = 1, **options: object) -> bytes:
    streams = Streams(engine)
    streams.submit("alone", seed, **options)
    streams.say("alone", [text])
    heard = streams.run()["alone"]
    assert isinstance(heard.last, Finished), heard.last
    return heard.pcm
