"""ElevenLabs over HTTP on a running server: formats, characters and their times, catalogues, error bodies."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.messages import WordTime
from server.audio.formats import ELEVEN_FORMATS
from server.protocols.elevenlabs.alignment import CharTimes, Span
from tests.audio.signals import clicks, decoded, delay
from tests.edge.conftest import RunningServer

TEXT = "It costs $5, she said;\nthen  they left."
KEY = {"xi-api-key": "any"}


def speech(client: httpx.Client, path: str = "", form: str = "pcm_24000", **body: object) -> httpx.Response:
    url = f"/v1/text-to-speech/rms{path}"
    given = {"text": TEXT, "model_id": "eleven_flash_v2_5", "seed": 9, **body}
    return client.post(url, params={"output_format": form}, json=given, headers=KEY)


def native(client: httpx.Client, rate_hz: int = 24_000, **body: object) -> bytes:
    given = {"input": TEXT, "seed": 9, "voice": "rms", "response_format": "pcm", "sample_rate": rate_hz, **body}
    return client.post("/v1/audio/speech", json=given).content


@pytest.mark.parametrize("path", ["", "/stream"])
@pytest.mark.parametrize("form", ["pcm_8000", "pcm_22050", "pcm_24000", "pcm_44100"])
def test_pcm_is_the_native_audio(client: httpx.Client, path: str, form: str) -> None:
    answer = speech(client, path, form)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"audio/pcm;rate={form[4:]};channels=1"
    assert answer.headers["request-id"]
    assert answer.content == native(client, ELEVEN_FORMATS[form].rate_hz)


@pytest.mark.parametrize("form", [name for name in ELEVEN_FORMATS if name.startswith(("mp3", "opus"))])
def test_compressed_is_the_native_audio_without_clicks(client: httpx.Client, form: str) -> None:
    rate_hz = ELEVEN_FORMATS[form].rate_hz
    wanted = np.frombuffer(native(client, rate_hz), "<i2").astype(np.float64)
    heard, heard_hz = decoded(speech(client, "/stream", form).content)
    assert heard_hz == rate_hz
    late = delay(heard, wanted)
    heard = heard[late : late + len(wanted)]
    assert np.corrcoef(heard, wanted)[0, 1] > 0.97
    assert clicks(heard, wanted, list(range(rate_hz // 25, len(wanted), rate_hz // 25)), rate_hz) == []


def test_mp3_is_the_default(client: httpx.Client) -> None:
    answer = client.post("/v1/text-to-speech/rms", json={"text": "Hello."})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert decoded(answer.content)[1] == 44_100


def test_mu_law_is_half_the_size(client: httpx.Client) -> None:
    assert 2 * len(speech(client, form="ulaw_8000").content) == len(native(client, 8_000))


def test_timestamps_whole_and_streamed_agree(client: httpx.Client) -> None:
    whole = speech(client, "/with-timestamps").json()
    assert base64.b64decode(whole["audio_base64"]) == native(client)
    lines = [json.loads(line) for line in speech(client, "/stream/with-timestamps").text.splitlines()]
    assert len(lines) > 3
    assert b"".join(base64.b64decode(line["audio_base64"]) for line in lines) == native(client)
    for field in ("characters", "character_start_times_seconds", "character_end_times_seconds"):
        streamed = [value for line in lines if line["alignment"] for value in line["alignment"][field]]
        assert streamed == whole["alignment"][field]
    check_times(whole["alignment"], len(native(client)) / 48_000)


def check_times(alignment: dict[str, Any], audio_s: float) -> None:
    assert "".join(alignment["characters"]) == TEXT.replace("\n", " ")
    starts, ends = alignment["character_start_times_seconds"], alignment["character_end_times_seconds"]
    assert len(starts) == len(ends) == len(TEXT)
    assert starts == sorted(starts)
    assert all(start <= end for start, end in zip(starts, ends))
    assert starts[0] >= 0
    assert audio_s - 0.7 < ends[-1] <= audio_s + 0.05
    assert starts[TEXT.index("then")] > ends[TEXT.index("$")]


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_times_follow_the_stretch(client: httpx.Client, speed: float) -> None:
    answer = speech(client, "/with-timestamps", voice_settings={"speed": speed}).json()
    audio = base64.b64decode(answer["audio_base64"])
    assert audio == native(client, speed=speed)
    check_times(answer["alignment"], len(audio) / 48_000)


def test_catalogues_speak_both_dialects(client: httpx.Client) -> None:
    voices = client.get("/v1/voices", headers=KEY).json()["voices"]
    assert [voice["voice_id"] for voice in voices] == ["rms", "slt", "awb", "kal16"]
    assert all(voice["name"] and voice["category"] for voice in voices)
    assert client.get("/v1/voices/nova").json()["voice_id"] == "slt"
    assert client.get("/v1/voices/nobody").status_code == 404
    models = client.get("/v1/models", headers=KEY).json()
    assert "eleven_flash_v2_5" in [model["model_id"] for model in models]
    assert client.get("/v1/models").json()["object"] == "list"


def test_bad_requests_have_elevenlabs_bodies(client: httpx.Client) -> None:
    unknown = client.post("/v1/text-to-speech/nobody", json={"text": "Hi."})
    assert unknown.status_code == 404
    assert unknown.json()["detail"]["status"] == "voice_not_found"
    assert "valid: rms" in unknown.json()["detail"]["message"]
    form = speech(client, form="tape_8000")
    assert form.status_code == 422
    assert form.json()["detail"][0]["loc"] == ["query", "output_format"]
    text = speech(client, text=None)
    assert (text.status_code, text.json()["detail"][0]["loc"]) == (422, ["body", "text"])
    for body, status, code in (
        ({"text": " "}, 400, "unspeakable_text"),
        ({"text": "a" * 4_097}, 400, "max_character_limit_exceeded"),
        ({"model_id": "gpt-9"}, 400, "model_not_found"),
    ):
        answer = speech(client, **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["detail"]["status"]) == (status, code)
    assert client.post("/v1/text-to-speech/rms", content=b"{").json()["detail"]["status"] == "invalid_message"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/text-to-speech/rms", {}, 405),
        ("POST", "/v1/text-to-speech/rms/nowhere", {}, 404),
        ("DELETE", "/v1/voices/rms", {}, 405),
        ("POST", "/v1/pronunciation-dictionaries", {}, 405),
        ("GET", "/v1/history", KEY, 404),
    ],
)
def test_what_is_not_there_is_told_in_elevenlabs_words(
    client: httpx.Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.request(method, path, headers=headers)
    code = {404: "not_found", 405: "method_not_allowed"}[status]
    assert (answer.status_code, answer.json()["detail"]["status"]) == (status, code)
    assert f"{method} {path}" in answer.json()["detail"]["message"]
    assert ("allow" in answer.headers) == (status == 405)


def test_a_key_in_elevenlabs_header_leaves_openais_paths_to_openai(client: httpx.Client) -> None:
    assert client.put("/v1/audio/speech", headers=KEY).json()["error"]["code"] == "method_not_allowed"


def test_keys_of_elevenlabs() -> None:
    guarded = RunningServer(api_keys="one")
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        refused = client.post("/v1/text-to-speech/rms", json={"text": "Hi."}, headers={"xi-api-key": "two"})
        assert (refused.status_code, refused.json()["detail"]["status"]) == (401, "invalid_api_key")
        assert client.post("/v1/text-to-speech/rms", json={"text": "Hi."}).status_code == 401
        passed = client.post("/v1/text-to-speech/rms", json={"text": "Hi."}, headers={"xi-api-key": "one"})
        assert passed.status_code == 200
    assert guarded.stop() == 0


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 400)), min_size=1, max_size=8), st.data()
)
def test_times_do_not_depend_on_the_cuts(shape: list[tuple[int, int, int]], data: st.DataObject) -> None:
    text, words, now_s = "", [], 0.0
    for letters, blanks, ms in shape:
        start = len(text)
        text += "x" * letters
        words.append(WordTime(start_char=start, end_char=len(text), start_s=now_s, end_s=now_s + ms / 1000))
        now_s += ms / 1000 + 0.05
        text += "\t" * blanks
    whole = CharTimes(text)
    expected = [span_items(whole.spoken(words)), span_items(whole.rest())]
    cuts = data.draw(st.lists(st.integers(0, len(words)), max_size=4).map(sorted))
    pieces, times = [], CharTimes(text)
    for first, last in zip([0, *cuts], [*cuts, len(words)]):
        pieces += span_items(times.spoken(words[first:last]))
    assert pieces + span_items(times.rest()) == [item for part in expected for item in part]
    assert "".join(char for char, _, _ in pieces) == text.replace("\t", " ")


def span_items(span: Span) -> list[tuple[str, int, int]]:
    return list(zip(span.chars, span.starts_ms, span.ends_ms))
