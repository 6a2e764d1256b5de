"""A server with a draft tolerance: asked for, checked at the start, seen in metrics and in the names of utterances."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest
from click import unstyle
from pydantic import ValidationError
from typer.testing import CliRunner

from engines.config import EngineConfig
from engines.errors import ConfigError
from engines.families.phone_pointer.bundle import Bundle, Drafts, load_bundle
from engines.messages import Submit
from server.app import create_app
from server.cli import app as commands
from server.settings import Settings
from server.speech.identity import utterance_id
from tests.edge.test_capacity import client_of
from tests.edge.toy import ToyEngine, serving


class Recording(ToyEngine):
    config: EngineConfig

    def __call__(self, end: socket.socket, bundle: Path | None, config: EngineConfig) -> None:
        self.config = config
        super().__call__(end, bundle, config)


def stand_in(monkeypatch: pytest.MonkeyPatch, drafts: Drafts | None) -> None:
    bundle = msgspec.structs.replace(load_bundle(Path("flite")), drafts=drafts)

    def load(folder: Path | None) -> Bundle:
        return bundle

    monkeypatch.setattr("server.app.open_bundle", load)


def test_names_of_their_own() -> None:
    def named(**tolerance: int) -> str:
        submit = Submit(request_id="any", voice="rms", seed=1)
        return utterance_id(
            "digest", "avx2", "Hello.", [], submit, rate_hz=24_000, tempo=1.0, rendering="pcm", **tolerance
        )

    assert named() == named(draft_tolerance=0)
    assert len({named(draft_tolerance=each) for each in range(4)}) == 4
    assert named().startswith("spk-")
    assert all(named(draft_tolerance=each).startswith("near-") for each in (1, 2, 3))


def test_from_the_setting_to_the_engine_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Drafts(greedy="drafts.onnx", sampled="drafts-sampled.onnx", verify="verify.onnx", length=2))

    async def scenario(tolerance: int) -> tuple[str, str, int]:
        toy = Recording()
        toy.counters = {"drafts_proposed": 20, "drafts_accepted": 5, "drafts_tolerated": 4}
        async with serving(toy, draft_tolerance=tolerance) as app, client_of(app) as client:
            body = {"input": "one two", "voice": "rms", "seed": 1}
            name = (await client.post("/v1/audio/speech", json=body)).headers["x-utterance-id"]
            return name, (await client.get("/metrics")).text, toy.config.draft_tolerance

    exact, figures, passed = asyncio.run(scenario(0))
    assert passed == 0
    assert exact.startswith("spk-")
    assert "tts_spec_tolerance 0.0" in figures
    near, figures, passed = asyncio.run(scenario(1))
    assert passed == 1
    assert near.startswith("near-")
    for line in (
        "tts_spec_tolerance 1.0",
        "tts_spec_draft_tokens_total 20.0",
        "tts_spec_accepted_tokens_total 5.0",
        "tts_spec_tolerated_tokens_total 4.0",
    ):
        assert line in figures


def test_a_voice_without_drafts_refuses_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, None)
    with pytest.raises(ConfigError, match="draft_tolerance 1 needs drafts"):
        create_app(Settings(draft_tolerance=1))
    monkeypatch.setattr("server.logs.configure", lambda json: None)  # its stream is the runner's
    answer = CliRunner().invoke(commands, ["serve", "--draft-tolerance", "1"])
    assert answer.exit_code == 1
    assert "needs drafts" in answer.output


def test_off_unless_asked_for_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLANDO_DRAFT_TOLERANCE", raising=False)
    assert Settings().draft_tolerance == 0
    monkeypatch.setenv("PARLANDO_DRAFT_TOLERANCE", "2")
    assert Settings().draft_tolerance == 2
    for wrong in (-1, 4):
        with pytest.raises(ValidationError, match="draft_tolerance"):
            Settings(draft_tolerance=wrong)
        answer = CliRunner().invoke(commands, ["serve", "--draft-tolerance", str(wrong)])
        assert answer.exit_code == 2
        assert "Invalid value for '--draft-tolerance'" in unstyle(answer.output)
