"""Voices added to a bundle at run time: by clients and by the command line, what each takes, and what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from engines import assemble
from engines.assemble import load_engine, open_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.added_voices import MOST, added_voices, encode_voice, most_voices, voice_bytes
from engines.families.common import voice_files
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.cloning import about
from engines.families.pocket.family import PocketFamily
from engines.families.pocket.voices import SPARE_ROWS, prefix_of
from engines.messages import Append, Chunk, EndText, Event, Failed, SetVoice, Started, Submit
from engines.runtime.base import Backend
from models.checkpoints.pocket import files
from models.exporting.__main__ import main
from server.cli import app
from tests.edge.conftest import RunningServer
from tests.pocket.test_cloning import NAME, RATE_HZ, recorded, voiced

URL = "/v1/audio/voices"
TEXT = "Good morning to you."


@pytest.fixture(scope="module")
def clones(smallest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that clones, with a voice that was cloned at export beside it."""
    folder = tmp_path_factory.mktemp("clones")
    mine = recorded(folder / "mine.wav", voiced(2.5))
    asked = [str(smallest), "--model", NAME, "--voice", "alba", "--voice", str(mine), "--voice-licence", "mine"]
    assert main([*asked, "--cloning", "--out", str(folder / "bundle")]) == 0
    return folder / "bundle"


def added(seed: int, lm: Bundle, positions: int = 20) -> bytes:
    shape = (2, lm.lm.layers, lm.lm.kv_heads, positions, lm.lm.head_dim)
    keys, values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return voice_files.packed({"keys": keys, "values": values}, about(lm))


def engine_of(bundle: Bundle, slots: int = 8) -> Engine:
    return load_engine(bundle, EngineConfig(slots=slots, workers=False))


def heard(engine: Engine, voices: list[str]) -> dict[str, bytes]:
    """What each says, all at once."""
    for voice in voices:
        engine.submit(Submit(request_id=voice, voice=voice, seed=5, sample_rate_hz=RATE_HZ))
        engine.submit(Append(request_id=voice, text=TEXT))
        engine.submit(EndText(request_id=voice))
    events: list[Event] = engine.step()
    while not engine.empty:
        events += engine.step()
    pcm = {one: b"".join(e.pcm for e in events if isinstance(e, Chunk) and e.request_id == one) for one in voices}
    assert all(pcm.values())
    return pcm


def test_a_recording_is_encoded_as_at_export(clones: Path) -> None:
    bundle = open_bundle(clones)
    assert isinstance(bundle, Bundle)
    file = voice_files.unpacked(encode_voice(bundle, voiced(2.5), RATE_HZ, "", "a test"))
    wanted = prefix_of(bundle, bundle.voice("mine"))
    for found, exact in ((file.arrays["keys"], wanted.keys), (file.arrays["values"], wanted.values)):
        assert found.shape == exact.shape
        assert np.abs(found - exact).max() < 5e-3 * np.abs(exact).max(), "weights in half precision"


def test_more_voices_than_rows_speak_beside_each_other_as_alone(clones: Path) -> None:
    bundle = open_bundle(clones)
    assert isinstance(bundle, Bundle)
    engine, names = engine_of(bundle), [f"voice{number}" for number in range(SPARE_ROWS + 3)]
    for number, name in enumerate(names):
        engine.submit(SetVoice(voice=name, content=added(number, bundle)))
    together = heard(engine, [*names, "alba"])
    assert len({*together.values()}) == len(together)
    for name in (names[0], names[-1], "alba"):
        assert heard(engine, [name])[name] == together[name]
    engine.submit(SetVoice(voice=names[0], content=added(99, bundle)))
    assert heard(engine, names[:1])[names[0]] != together[names[0]], "replaced under the same name"
    digests = [voice_files.unpacked(added(number, bundle)).digest for number in (0, 99)]
    asked = Submit(request_id="moved", voice=names[0], seed=0, sample_rate_hz=RATE_HZ, heard_samples=1_000)
    for digest, known in zip(digests, ("was replaced while it spoke", None), strict=True):
        engine.submit(replace(asked, voice_digest=digest))  # as from a server whose other engine was lost
        (event,) = [one for one in engine.step() if isinstance(one, Failed | Started)]
        assert (known in event.message) if isinstance(event, Failed) else known is None


def test_files_are_as_large_as_the_model_makes_them(clones: Path, tmp_path: Path) -> None:
    bundle = open_bundle(clones)
    assert isinstance(bundle, Bundle)
    assert bundle.cloning is not None
    most = bundle.cloning.positions
    assert voice_bytes(bundle) == 2 * 4 * bundle.lm.layers * bundle.lm.kv_heads * bundle.lm.head_dim * most
    assert 1 <= most_voices(bundle) <= MOST
    contents = {
        "longest": added(1, bundle, most),
        "longer": added(1, bundle, most + 1),
        "large": bytes(2 * voice_bytes(bundle)),
        "other": voice_files.packed({"keys": np.zeros((1, 1, 4, 2), np.float32)}, {}),
        "odd": voice_files.packed(dict.fromkeys(("keys", "values"), np.zeros((1, 1, 4, 2), np.float32)), {}),
    }
    for name, content in contents.items():
        voice_files.write(tmp_path, name, content)
    found, problems = added_voices(bundle, tmp_path)
    assert [*found] == ["longest"]
    assert f"takes {most + 1} positions, a slot has room for {most}: cut it" in problems["longer"]
    assert "which no voice of this model has" in problems["large"]
    assert "it is no voice of this model: it has no values" in problems["other"]
    assert "it is a voice of another model: clone it again" in problems["odd"]
    engine = engine_of(bundle, 1)
    engine.submit(SetVoice(voice="longest", content=contents["longest"]))
    assert heard(engine, ["longest"])["longest"]


def test_a_voice_of_other_weights_is_refused(clones: Path, tmp_path: Path) -> None:
    """Though its arrays have the same shapes."""
    bundle = open_bundle(clones)
    assert isinstance(bundle, Bundle)
    arrays = voice_files.unpacked(added(1, bundle)).arrays
    other = replace(bundle, name="pocket-mine", files={name: digest[::-1] for name, digest in bundle.files.items()})
    for name, told in {"own": about(bundle), "theirs": about(other), "old": {"seconds": 3}}.items():
        voice_files.write(tmp_path, name, voice_files.packed(arrays, told))
    found, problems = added_voices(bundle, tmp_path)
    assert [*found] == ["own"]
    assert "a voice of pocket-mine with other weights than those of pocket-english_2m" in problems["theirs"]
    assert "does not say which weights made it: clone it again, with `parlando voices add`" in problems["old"]
    again = replace(bundle, files=bundle.files | {"step.onnx": "of another precision"})
    assert [*added_voices(again, tmp_path)[0]] == ["own"], "what reads the keys is not what made them"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def client(clones: Path, folder: Path) -> Iterator[httpx.Client]:
    with (
        RunningServer(bundle=str(clones), slots="4", voices=str(folder)) as server,
        httpx.Client(base_url=server.url, timeout=120) as one,
    ):
        yield one


def add(client: httpx.Client, name: str, recording: Path) -> httpx.Response:
    sample = {"audio_sample": (recording.name, recording.read_bytes(), "audio/wav")}
    return client.post(URL, data={"name": name, "consent": "Jo agrees"}, files=sample)


def test_a_client_adds_a_voice_and_speaks_with_it(client: httpx.Client, tmp_path: Path) -> None:
    answer = add(client, "jo", recorded(tmp_path / "jo.wav", voiced(3, 48_000), 48_000))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["seconds"], answer.json()["uses_text"]) == (3.5, False)

    def speak(voice: str) -> httpx.Response:
        body = {"input": TEXT, "voice": voice, "seed": 7, "response_format": "pcm"}
        return client.post("/v1/audio/speech", json=body)

    jo, alba = speak("jo"), speak("alba")
    assert (jo.status_code, alba.status_code) == (200, 200)
    assert jo.content != alba.content
    assert jo.headers["x-utterance-id"] != alba.headers["x-utterance-id"]
    assert '"jo"' in client.get("/v1/voices").text
    assert client.delete(f"{URL}/jo").status_code == 200
    assert speak("jo").status_code == 400


def test_what_a_file_says_of_its_recording_stops_nothing(client: httpx.Client, clones: Path, folder: Path) -> None:
    bundle = open_bundle(clones)
    assert isinstance(bundle, Bundle)
    arrays, told = voice_files.unpacked(added(1, bundle)).arrays, about(bundle)
    voice_files.write(folder, "odd", voice_files.packed(arrays, told | {"created_s": None, "seconds": "long"}))
    for _ in range(100):
        if '"odd"' in client.get("/v1/voices").text:
            return
        time.sleep(0.2)
    raise AssertionError("it is not listed")


def test_a_bad_recording_is_refused_by_name(client: httpx.Client, tmp_path: Path) -> None:
    answer = add(client, "no", recorded(tmp_path / "no.wav", voiced(0.5)))
    assert (answer.status_code, "is 1.0 s long, right is 2 to 30 s" in answer.text) == (400, True)


def test_the_command_line_adds_one(clones: Path, tmp_path: Path) -> None:
    arguments = ["voices", "add", "kim", str(recorded(tmp_path / "kim.wav", voiced(2.5)))]
    arguments += ["--bundle", str(clones), "--voices", str(tmp_path)]
    found = CliRunner().invoke(app, arguments, env={**os.environ})
    assert "kim: 3.0 s, by its sound alone" in found.output.replace("\n", " ")
    assert [*added_voices(open_bundle(clones), tmp_path)[0]] == ["kim"]


def test_a_family_that_adds_no_voices_is_made_without_them(clones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        """As docs/add-a-family.md says: made of its bundle and a host."""

        def __init__(self, bundle: Bundle, host: Backend) -> None:
            self._family = PocketFamily(bundle, host)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._family, name)

    bundle = open_bundle(clones)
    monkeypatch.setitem(assemble._KINDS, "pocket", (type(bundle), Plain))
    assert heard(engine_of(bundle, 1), ["alba"])["alba"]


def test_a_bundle_without_the_encoder_says_how_to_get_it(bundle: Path, tmp_path: Path) -> None:
    with (
        RunningServer(bundle=str(bundle), slots="2", voices=str(tmp_path)) as server,
        httpx.Client(base_url=server.url, timeout=60) as one,
    ):
        answer = add(one, "jo", recorded(tmp_path / "jo.wav", voiced(2.5)))
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert "cannot clone voices: it was exported without the voice encoder" in message
    assert "--cloning from hf://kyutai/pocket-tts" in message


def test_weights_that_hear_nothing_make_no_bundle_that_clones(smallest: Path, tmp_path: Path) -> None:
    checkpoint = files.read(str(smallest), ["alba"], NAME)
    assert not any(name.startswith("mimi.encoder") for name in checkpoint.weights)
    from models.checkpoints.errors import CheckpointError
    from models.exporting.pocket.export import export

    with pytest.raises(CheckpointError, match="these weights hold no voice encoder"):
        export(checkpoint, tmp_path / "none", clones=True)
    assert not [*tmp_path.iterdir()]
