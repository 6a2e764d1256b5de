"""`/v1/audio/voices` and `parlando voices`: who may add a voice of what, where it is listed, and that it speaks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from engines.errors import BadParameter
from engines.families.common import voice_files
from engines.families.common.recording_files import decoded
from engines.families.qwen3_tts.bundle import Bundle
from server.cli import app
from tests.edge.conftest import RunningServer
from tests.qwen3_tts.recordings import encoded, tone, wav

SPEECH = wav(tone(3))
URL = "/v1/audio/voices"
KEYS = {"one": {"Authorization": "Bearer one"}, "two": {"Authorization": "Bearer two"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


def _server(bundle: Bundle, **settings: str) -> RunningServer:
    return RunningServer(bundle=str(bundle.folder), slots="4", api_keys="one,two", **settings)


@pytest.fixture(scope="module")
def server(base: Bundle, folder: Path) -> Iterator[RunningServer]:
    with _server(base, voices=str(folder), key_voices="2", max_recording_bytes="400000") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


def _add(client: httpx.Client, name: str, recording: bytes = SPEECH, key: str = "one", **form: str) -> httpx.Response:
    files = {"audio_sample": ("me.wav", recording, "audio/wav")}
    data = {"name": name, "consent": "Jo agrees", **form}
    return client.post(URL, data=data, files=files, headers=KEYS[key])


def _speak(client: httpx.Client, voice: str) -> httpx.Response:
    body = {"input": "Hello world.", "voice": voice, "seed": 7, "response_format": "pcm"}
    return client.post("/v1/audio/speech", json=body, headers=KEYS["two"])


def _listed(client: httpx.Client) -> list[str]:
    return [one["id"] for one in client.get(URL, headers=KEYS["one"]).json()["voices"]]


def test_a_voice_is_added_spoken_with_listed_and_removed(client: httpx.Client, folder: Path) -> None:
    added = _add(client, "jo")
    assert added.status_code == 200, added.text
    assert {**added.json(), "created_at": 0} == {
        "id": "jo", "object": "audio.voice", "name": "jo", "created_at": 0, "seconds": 3.0, "uses_text": False,
    }  # fmt: skip
    assert abs(added.json()["created_at"] - time.time()) < 600
    assert voice_files.read(folder, "jo", 2**20).about["consent"] == "Jo agrees"
    nearer = _add(client, "jo-text", ref_text="hello world")
    assert nearer.json()["uses_text"] is True
    assert _listed(client) == ["default", "jo", "jo-text"]
    spoken = {voice: _speak(client, voice) for voice in ("default", "jo", "jo-text")}
    assert all(one.status_code == 200 for one in spoken.values())
    assert len({one.content for one in spoken.values()}) == 3
    assert len({one.headers["x-utterance-id"] for one in spoken.values()}) == 3
    full = _add(client, "third")
    assert (full.status_code, full.json()["error"]["code"]) == (429, "quota_exceeded")
    assert "this key keeps 2 voices, its limit is 2; remove one with DELETE /v1/audio/voices/NAME" in full.text
    assert "there is a voice 'jo' already; remove it first" in _add(client, "jo", key="two").text
    foreign = client.delete(f"{URL}/jo", headers=KEYS["two"])
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "read_only")
    assert client.delete(f"{URL}/jo", headers=KEYS["one"]).json() == {
        "id": "jo", "object": "audio.voice", "deleted": True,
    }  # fmt: skip
    assert client.delete(f"{URL}/jo-text", headers=KEYS["one"]).status_code == 200
    assert _listed(client) == ["default"]
    assert _speak(client, "jo").status_code == 400
    assert client.delete(f"{URL}/jo", headers=KEYS["one"]).json()["error"]["code"] == "unknown_voice"


def test_every_protocol_lists_it(client: httpx.Client, server: RunningServer) -> None:
    assert _add(client, "kim").status_code == 200
    try:
        key = {**KEYS["one"], "xi-api-key": "one"}
        for path in ("/v1/audio/voices", "/v1/voices", "/v2/voices", "/voices", "/v1/voices/kim", "/voices/kim"):
            assert '"kim"' in client.get(path, headers=key).text, path
        eleven = client.post("/v1/text-to-speech/kim", json={"text": "Hello."}, headers=key)
        assert eleven.status_code == 200
        deepgram = client.post("/v1/speak?model=kim", json={"text": "Hello."}, headers={"Authorization": "Token one"})
        assert deepgram.status_code == 200
    finally:
        assert client.delete(f"{URL}/kim", headers=KEYS["one"]).status_code == 200


@pytest.mark.parametrize(
    ("recording", "form", "expected"),
    [
        (wav(tone(1)), {}, "the recording is 1.0 s long, right is 2 to 30 s"),
        (wav(tone(3, rate_hz=8_000), 8_000), {}, "the recording has 8000 Hz, right is 16000 Hz or more"),
        (wav(tone(3, level=0.001)), {}, "too quiet"),
        (wav(tone(3, level=3)), {}, "of the samples are clipped"),
        (wav(np.concatenate([tone(1), np.zeros(72_000, np.float32)])), {}, "75% of the recording is silence"),
        (b"not audio at all", {}, "the file cannot be read as audio"),
        (SPEECH[:40_000], {}, "the file is broken off: it says 144044 bytes and has 40000"),
        (encoded(tone(3), "flac", "flac")[:9_000], {}, "the file cannot be read as audio"),
        (SPEECH, {"name": "Jo!"}, "voice name 'Jo!' must be 1 to 64"),
        (SPEECH, {"name": "default"}, "'default' is the name of one of the server's own voices"),
        (SPEECH, {"name": "nova"}, "'nova' is the name of one of the server's own voices"),
        (SPEECH, {"consent": ""}, "consent: "),
        (SPEECH, {"ref_text": "x" * 1_001}, "ref_text: string should have at most 1000 characters"),
        (SPEECH, {"other": "1"}, "other: extra inputs are not permitted"),
        (wav(tone(5)), {"ref_text": "hello " * 100}, "of a slot's 128 positions, right is below half"),
        (bytes(400_000), {}, "the limit is 400000"),
    ],
)
def test_a_bad_recording_is_refused_by_name(
    client: httpx.Client, recording: bytes, form: dict[str, str], expected: str
) -> None:
    answer = _add(client, form.pop("name", "no"), recording, **form)
    assert answer.status_code in (400, 413)
    assert expected in answer.json()["error"]["message"]
    assert _listed(client) == ["default"]


def test_keys_and_forms_are_checked(client: httpx.Client) -> None:
    assert client.post(URL, data={"name": "x"}).status_code == 401
    assert client.delete(f"{URL}/jo").status_code == 401
    assert "audio_sample: field required" in client.post(URL, files={"name": b"x"}, headers=KEYS["one"]).text
    assert "send the form as multipart/form-data" in client.post(URL, json={}, headers=KEYS["one"]).text


def test_the_command_line_adds_and_a_running_server_notices(
    base: Bundle, client: httpx.Client, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> str:
        found = CliRunner().invoke(app, ["voices", *arguments])
        assert (found.exit_code == 0) == (not found.output.startswith("error")), found.output
        return found.output

    def until_listed(names: list[str]) -> None:
        deadline_s = time.monotonic() + 60
        while _listed(client) != names:
            assert time.monotonic() < deadline_s, _listed(client)
            time.sleep(0.1)

    monkeypatch.setenv("PARLANDO_BUNDLE", str(base.folder))
    monkeypatch.setenv("PARLANDO_VOICES", str(folder))
    (tmp_path / "me.wav").write_bytes(SPEECH)
    printed = run("add", "operator", str(tmp_path / "me.wav"), "--text", "hello world", "--consent", "Jo")
    assert "operator: 3.0 s, with its text" in printed
    assert "operator" in run("list")
    assert "cloned from 3.0 s" in run()
    until_listed(["default", "operator"])
    assert _speak(client, "operator").status_code == 200
    foreign = client.delete(f"{URL}/operator", headers=KEYS["one"])
    assert "is the operator's; only the client that added one may remove it" in foreign.text
    assert run("remove", "operator") == "operator is removed\n"
    until_listed(["default"])
    assert "there is no added voice 'operator'; there are: none" in run("remove", "operator")
    assert "cannot be read as audio" in run("add", "x", __file__)
    assert "No such file" in run("add", "x", str(tmp_path / "none.wav"))


def test_voices_survive_a_restart_and_bad_files_are_left_out(base: Bundle, tmp_path: Path) -> None:
    with _server(base, voices=str(tmp_path)) as server, httpx.Client(base_url=server.url, timeout=120) as client:
        assert _add(client, "jo").status_code == 200
        before = _speak(client, "jo")
    (tmp_path / "odd.npz").write_bytes(b"no")
    with _server(base, voices=str(tmp_path)) as server, httpx.Client(base_url=server.url, timeout=120) as client:
        assert _listed(client) == ["default", "jo"]
        after = _speak(client, "jo")
        assert after.content == before.content
        assert after.headers["x-utterance-id"] == before.headers["x-utterance-id"]
        assert any("voice_refused" in line and "odd" in line for line in server.lines)
        assert client.delete(f"{URL}/jo", headers=KEYS["two"]).status_code == 403
        assert client.delete(f"{URL}/jo", headers=KEYS["one"]).status_code == 200


def test_every_engine_of_a_server_hears_of_it(base: Bundle, tmp_path: Path) -> None:
    with _server(base, voices=str(tmp_path), engines="2") as server:
        server.await_ready()  # the second one too
        with httpx.Client(base_url=server.url, timeout=120) as client, ThreadPoolExecutor(4) as at_once:
            assert _add(client, "jo").status_code == 200
            answers = list(at_once.map(lambda _: _speak(client, "jo"), range(4)))
            assert [one.status_code for one in answers] == [200] * 4
            assert len({one.content for one in answers}) == 1


def test_a_bundle_that_cannot_clone_and_a_server_without_a_folder_say_so(bundle: Bundle, base: Bundle) -> None:
    for one, status, expected in (
        (bundle, 400, "cannot clone voices: its checkpoint is of kind custom_voice, right is base"),
        (base, 403, "it was started without a folder for them (--voices)"),
    ):
        with _server(one) as server, httpx.Client(base_url=server.url, timeout=120) as client:
            answer = _add(client, "jo")
            assert (answer.status_code, expected in answer.json()["error"]["message"]) == (status, True)


@pytest.mark.parametrize(
    ("form", "codec"),
    [("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("adts", "aac"), ("webm", "libopus")],
)
def test_recordings_are_read_in_many_forms(form: str, codec: str) -> None:
    rate_hz = 48_000 if codec == "libopus" else 24_000
    samples, found_hz = decoded(encoded(tone(3, rate_hz=rate_hz), form, codec, rate_hz))
    assert found_hz == rate_hz
    assert len(samples) / rate_hz == pytest.approx(3, abs=0.15)
    assert np.sqrt(np.square(samples).mean()) == pytest.approx(0.22, abs=0.03)


def test_channels_are_mixed_and_lists_of_files_are_not_read(tmp_path: Path) -> None:
    both = np.stack([tone(3), tone(3)], axis=1)
    np.testing.assert_allclose(decoded(wav(both))[0], tone(3), atol=1e-3)
    (tmp_path / "secret.wav").write_bytes(SPEECH)
    lists: list[Any] = [
        f"#EXTM3U\n#EXTINF:3,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n",
    ]
    for content in lists:
        with pytest.raises(BadParameter, match="cannot be read as audio"):
            decoded(content.encode())


def test_a_folder_that_cannot_be_written_is_told(base: Bundle, tmp_path: Path) -> None:
    target = Path(shutil.copytree(base.folder, tmp_path / "copy")) / "voices"
    target.write_text("a file where the folder should be")
    (tmp_path / "me.wav").write_bytes(SPEECH)
    arguments = ["voices", "add", "jo", str(tmp_path / "me.wav"), "--bundle", str(target.parent)]
    found = CliRunner().invoke(app, arguments, env={**os.environ})
    assert found.exit_code == 1
    assert found.output.startswith("error")
