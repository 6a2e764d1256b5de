"""A bundle of pocket-tts through the server: every door finds its voices, its rates and its refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from engines.assemble import load_engine, open_bundle
from engines.config import EngineConfig
from engines.errors import BundleError, ConfigError
from engines.runtime.memory import slots_by_memory
from server import doctor
from server.app import create_app
from server.settings import Settings
from tests.edge.conftest import RunningServer

TEXT = "Hello there, this is a first sentence to say. And here is another one."


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[RunningServer]:
    with RunningServer(bundle=str(bundle), slots="4") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as one:
        yield one


def body(**how: object) -> dict[str, object]:
    return {"model": "tts-1", "input": TEXT, "voice": "alba", "seed": 3, "response_format": "pcm"} | how


def spoken(client: httpx.Client, **how: object) -> bytes:
    answer = client.post("/v1/audio/speech", json=body(**how))
    assert answer.status_code == 200, answer.text
    return answer.content


def test_words_over_a_socket_give_the_bytes_of_http(server: RunningServer, client: httpx.Client) -> None:
    whole, pcm = spoken(client), b""
    assert len(whole) > 48_000
    with connect(server.ws_url) as socket:
        socket.send(json.dumps({"type": "start", "voice": "alba", "seed": 3}))
        for word in TEXT.split():
            socket.send(json.dumps({"type": "append", "text": f"{word} "}))
        socket.send(json.dumps({"type": "end"}))
        for message in socket:
            if isinstance(message, bytes):
                pcm += message
            elif json.loads(message)["type"] == "done":
                break
    assert pcm == whole


def test_markup_is_left_out_as_the_settings_say(bundle: Path, client: httpx.Client) -> None:
    marked = f"<think>Not this.</think>[laughs] {TEXT.replace('first', '**first**')}"
    assert spoken(client, input=marked) == spoken(client)
    asked: dict[str, object] = {"text": f"{TEXT}<break time='1s'/>", "seed": 3}
    path = "/v1/text-to-speech/alba?output_format=pcm_24000&enable_ssml_parsing"
    assert len({client.post(f"{path}={one}", json=asked).content for one in ("true", "false")}) == 1
    events = client.post("/v1/audio/speech", json=body(input=asked["text"], stream_format="sse")).text
    assert "<break> has no effect on this model" in events
    with (
        RunningServer(bundle=str(bundle), slots="1", skip_directions="false") as other,
        httpx.Client(base_url=other.url, timeout=60) as reads,
    ):
        assert spoken(reads, input=marked) == spoken(reads, input=f"[laughs] {TEXT}") != spoken(client)


def test_other_rates_are_resampled(client: httpx.Client) -> None:
    at_its_own = spoken(client)
    assert len(spoken(client, sample_rate=8_000)) == pytest.approx(len(at_its_own) / 3, rel=0.05)


def test_temperature_is_honoured(client: httpx.Client) -> None:
    whole = spoken(client)
    assert spoken(client, temperature=0.3) == whole  # the model's own
    assert len({whole, spoken(client, temperature=0.0), spoken(client, temperature=1.0)}) == 3
    assert spoken(client, temperature=0.0, seed=8) == spoken(client, temperature=0.0)


def test_voices_and_model_are_the_bundles(client: httpx.Client) -> None:
    assert "CC0-1.0" in client.get("/v1/voices").text
    assert "pocket-english_2m_2026-10" in client.get("/v1/models").text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"speed": 1.25}, "speed 1.25: this model has no speed"),
        ({"pitch_semitones": 2}, "pitch_semitones 2.0: this model has no pitch"),
        ({"timbre": "alba+marius"}, "this model has no mixing of voices"),
        ({"temperature": 5}, "temperature"),
        ({"voice": "alba+marius"}, "this model has no mixing of voices"),
    ],
)
def test_what_it_lacks_is_refused_by_name(client: httpx.Client, how: dict[str, object], words: str) -> None:
    answer = client.post("/v1/audio/speech", json=body(**how))
    assert answer.status_code == 400
    assert words in answer.text


def test_slots_by_memory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine(open_bundle(bundle), EngineConfig(slots=3, workers=False))
    each = engine.spec.bytes_per_slot
    monkeypatch.setattr("engines.runtime.memory.available_bytes", lambda: 20 * each)
    assert (slots_by_memory(128, each), slots_by_memory(3, each)) == (10, 3)
    monkeypatch.setattr("engines.runtime.memory.available_bytes", lambda: each)
    assert load_engine(open_bundle(bundle), EngineConfig(slots=3, workers=False)).config.slots == 1


def test_doctor_tells_slots_and_their_memory(bundle: Path) -> None:
    found = {one.what: one.found for one in doctor.findings(bundle)}
    assert "MB each" in found["slots"]
    assert "voices alba, marius" in found["bundle"]


def test_a_family_that_is_not_known(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "other")
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(content | {"family": "opera"}))
    with pytest.raises(
        BundleError, match=r"manifest\.family is 'opera'; this version serves phone_pointer, pocket, qwen3_tts"
    ):
        open_bundle(folder)


def test_drafts_are_refused(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="draft_tolerance 1 needs drafts"):
        create_app(Settings(bundle=bundle, draft_tolerance=1))
