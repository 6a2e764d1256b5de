"""The HTTP surface of a running server with the shipped voice."""

from __future__ import annotations

import struct

import httpx
import pytest

from tests.edge.conftest import RunningServer, await_idle

TEXT = "Hello there, this is a test."


def speech(client: httpx.Client, **body: object) -> httpx.Response:
    return client.post("/v1/audio/speech", json={"input": TEXT, "model": "tts-1", "response_format": "pcm", **body})


def test_pcm_is_chunked_and_seeded(client: httpx.Client) -> None:
    answer = speech(client, voice="rms", seed=5)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/pcm;rate=24000;channels=1"
    assert answer.headers["x-seed"] == "5"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == speech(client, voice={"id": "rms"}, seed=5).content
    assert len(answer.content) % (2 * 240) == 0, "whole hops of 10 ms"
    drawn = speech(client).headers["x-seed"]
    assert speech(client, seed=int(drawn)).status_code == 200


def test_wav_has_a_plain_streaming_header(client: httpx.Client) -> None:
    wav, pcm = (speech(client, seed=5, response_format=form).content for form in ("wav", "pcm"))
    assert wav[44:] == pcm
    assert struct.unpack("<4sI4s4sIHHIIHH4sI", wav[:44]) == (
        b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16, b"data", 0xFFFFFFFF,
    )  # fmt: skip


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_rates_have_the_same_length(client: httpx.Client, rate_hz: int) -> None:
    seconds = len(speech(client, seed=1).content) / 2 / 24_000
    assert len(speech(client, seed=1, sample_rate=rate_hz).content) / 2 / rate_hz == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize(
    ("body", "status", "param", "says"),
    [
        ({"input": ""}, 400, "input", "empty"),
        ({"input": " "}, 400, "input", "at least one word"),
        ({"input": "a" * 4_097}, 413, "input", "4097 characters, the limit is 4096"),
        ({"input": 7}, 400, "input", "got 7"),
        ({"voice": "nobody"}, 400, "voice", "valid: rms"),
        ({"model": "gpt-9"}, 404, "model", "valid: flite, default"),
        ({"speed": 4.5}, 400, "speed", "got 4.5"),
        ({"response_format": "tape"}, 400, "response_format", "'flac' or 'aac'"),
        ({"sample_rate": 11_000}, 400, "sample_rate", "valid: 8000"),
        ({"sample_rate": 44_100, "response_format": "opus"}, 400, "sample_rate", "valid: 8000, 16000, 24000, 48000"),
        ({"stream_format": "tape"}, 400, "stream_format", "'audio' or 'sse'"),
        ({"instructions": "a" * 4_097}, 400, "instructions", "4096"),
        ({"seed": -1}, 400, "seed", "got -1"),
    ],
)
def test_bad_requests_name_field_value_and_remedy(
    client: httpx.Client, body: dict[str, object], status: int, param: str, says: str
) -> None:
    answer = speech(client, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]


def test_broken_json_and_unknown_paths(client: httpx.Client) -> None:
    assert client.post("/v1/audio/speech", content=b"{").status_code == 400
    assert client.get("/nowhere").json()["error"]["code"] == "not_found"
    assert client.put("/v1/audio/speech").status_code == 405


def test_a_model_is_found_by_each_of_its_names(client: httpx.Client) -> None:
    for listed in client.get("/v1/models").json()["data"]:
        assert client.get(f"/v1/models/{listed['id']}").json() == listed
    unknown = client.get("/v1/models/gpt-9")
    error = unknown.json()["error"]
    assert (unknown.status_code, error["code"], error["param"]) == (404, "unknown_model", "model")
    assert "'gpt-9' does not exist; valid: flite, default" in error["message"]


def test_unknown_fields_are_ignored_here(client: httpx.Client) -> None:
    assert speech(client, future_field=1).status_code == 200


def test_catalogue(client: httpx.Client) -> None:
    voices = client.get("/v1/audio/voices").json()["voices"]
    assert next(voice["id"] for voice in voices) == "rms"
    assert all(voice["name"] for voice in voices)
    assert {"default", "tts-1"} <= {model["id"] for model in client.get("/v1/models").json()["data"]}


def test_operations(client: httpx.Client) -> None:
    speech(client)
    assert client.get("/health").status_code == 200
    assert client.get("/ready").json() == {"status": "ready"}
    metrics = client.get("/metrics").text
    assert 'tts_requests_total{outcome="ok",protocol="openai"}' in metrics
    assert "tts_time_to_first_audio_seconds_bucket" in metrics


def test_keys_are_checked_when_configured() -> None:
    guarded = RunningServer(api_keys="one,two")
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        assert speech(client).status_code == 401
        client.headers["authorization"] = "Bearer two"
        assert speech(client).status_code == 200
    assert guarded.stop() == 0


def test_who_cannot_be_served_in_time_is_refused_unless_alone() -> None:
    with RunningServer(shed="true", max_ttfa_s="0.000001") as slow, httpx.Client(base_url=slow.url) as client:
        body = {"input": "one two three four five six seven eight nine ten. " * 80, "seed": 1}
        with client.stream("POST", "/v1/audio/speech", json=body) as alone:
            assert alone.status_code == 200
            refused = speech(client)
            assert refused.status_code == 503
            assert "first audio would take" in refused.json()["error"]["message"]
        assert slow.stop() == 0


def test_a_full_server_refuses_with_retry_after() -> None:
    small = RunningServer(slots="1")
    with httpx.Client(base_url=small.url, timeout=30) as client:
        body = {"input": "one two three four five six seven eight nine ten. " * 80, "seed": 1}
        with client.stream("POST", "/v1/audio/speech", json=body) as busy:
            assert busy.status_code == 200
            refused = client.post("/v1/audio/speech", json={"input": TEXT})
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["code"] == "overloaded"
        await_idle(client)
        assert speech(client).status_code == 200
    assert small.stop() == 0


def test_what_is_missing_or_no_object_is_named_plainly(client: httpx.Client) -> None:
    missing, no_object = (client.post("/v1/audio/speech", json=body) for body in ({"text": "Hi."}, ["Hi."]))
    assert (missing.json()["error"]["message"], missing.json()["error"]["param"]) == ("input is missing", "input")
    assert "must be a JSON object, got list" in no_object.json()["error"]["message"]


def test_other_methods_and_paths_are_told_what_there_is(client: httpx.Client) -> None:
    refused = client.put("/v1/audio/speech")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert "takes GET, HEAD, POST" in refused.json()["error"]["message"]
    paths = client.get("/v1/nowhere").json()["error"]["message"].partition("there are: ")[2].split(", ")
    assert len(paths) == len(set(paths))
    assert "/v1/models/{name}" in paths


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/capacity", "/v1/models", "/"])
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    """Monitors ask so; `wget --spider` does, too."""
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == 200
    assert not head.content
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_audio_speaks_nothing(client: httpx.Client) -> None:
    before = spoken(client)
    head = client.head("/v1/audio/speech", params={"input": "A player looks first.", "response_format": "wav"})
    assert (head.status_code, head.headers["content-type"]) == (200, "audio/wav")
    assert "content-length" not in head.headers
    assert client.head("/v1/audio/speech", params={"input": "Hi.", "speed": 9}).status_code == 400
    assert spoken(client) == before
    assert client.get("/v1/audio/speech", params={"input": "Then it plays."}).status_code == 200
    assert spoken(client) == before + 1


def spoken(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('tts_requests_total{outcome="ok"'))
