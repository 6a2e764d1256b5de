"""OpenAI's dialect on a running server: every format, events, speed, instructions, voice names."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Literal

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.families.bundle import Voice
from server.protocols.openai.instructions import effective_speed, pace_of
from server.speech.voice_names import OPENAI_VOICES, names_of
from tests.audio.signals import clicks, decoded, delay

TEXT = "Every format says the same words, and the seams between the chunks stay silent."
TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "webm": "audio/webm", "aac": "audio/aac", "flac": "audio/flac"}
CHUNK_S = 0.04


def speech(client: httpx.Client, **body: object) -> httpx.Response:
    answer = client.post("/v1/audio/speech", json={"input": TEXT, "model": "tts-1", "seed": 3, **body})
    assert answer.status_code == 200, answer.text
    return answer


def native(client: httpx.Client, rate_hz: int = 24_000) -> NDArray[np.float64]:
    pcm = speech(client, response_format="pcm", sample_rate=rate_hz).content
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def test_mp3_is_the_default(client: httpx.Client) -> None:
    answer = speech(client)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content[:1] == b"\xff"
    assert answer.content == speech(client, response_format="mp3").content


@pytest.mark.parametrize("codec", ["mp3", "opus", "webm", "aac"])
def test_lossy_formats_are_the_native_audio_without_clicks(client: httpx.Client, codec: str) -> None:
    answer = speech(client, response_format=codec)
    assert answer.headers["content-type"] == TYPES[codec]
    heard, rate_hz = decoded(answer.content)
    wanted = native(client, rate_hz)
    if codec in ("opus", "webm"):  # fed with 24 kHz, decoded at 48
        assert len(heard) == len(wanted)
    late = delay(heard, wanted)
    heard = heard[late : late + len(wanted)]
    assert len(heard) == len(wanted)
    assert np.corrcoef(heard, wanted)[0, 1] > 0.97
    step = round(CHUNK_S * rate_hz)
    assert clicks(heard, wanted, list(range(step, len(wanted), step)), rate_hz) == []


def test_lossless_formats_are_the_native_bytes(client: httpx.Client) -> None:
    pcm = speech(client, response_format="pcm").content
    samples = np.frombuffer(pcm, "<i2")
    assert np.array_equal(decoded(speech(client, response_format="flac").content)[0], samples)
    assert speech(client, response_format="wav").content[44:] == pcm
    floats = np.frombuffer(speech(client, response_format="pcm_f32").content, "<f4")
    assert np.array_equal(floats * 32768, samples)
    for law, kind in (("ulaw", "PCMU"), ("alaw", "PCMA")):
        telephone = speech(client, response_format=law)
        assert len(telephone.content) == len(pcm) // 6
        assert telephone.headers["content-type"] == f"audio/{kind};rate=8000;channels=1"
        assert telephone.headers["x-sample-rate"] == "8000"
        wide = speech(client, response_format=law, sample_rate=16_000)
        assert wide.headers["content-type"] == f"audio/{kind};rate=16000;channels=1"


@pytest.mark.parametrize("codec", ["pcm", "wav", "mp3", "flac"])
def test_events_carry_the_same_bytes_and_usage(client: httpx.Client, codec: str) -> None:
    answer = speech(client, response_format=codec, stream_format="sse")
    assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert audio == speech(client, response_format=codec).content
    usage = events[-1]["usage"]
    assert events[-1]["type"] == "speech.audio.done"
    assert usage["input_tokens"] == len(TEXT)
    assert usage["output_tokens"] > 25  # codes of 40 ms
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_speed_changes_length_not_validity(client: httpx.Client, speed: float) -> None:
    plain, other = native(client), speech(client, response_format="pcm", speed=speed)
    assert other.headers["x-speed"] == f"{speed:g}"
    assert len(other.content) / 2 == pytest.approx(len(plain) / speed, rel=0.12)
    assert other.content == speech(client, response_format="pcm", speed=speed).content


def test_stretched_wav_is_the_stretched_pcm(client: httpx.Client) -> None:
    pcm = speech(client, response_format="pcm", speed=3).content
    with wave.open(io.BytesIO(speech(client, response_format="wav", speed=3).content)) as file:
        assert file.readframes(len(pcm)) == pcm


def test_instructions_about_pace(client: httpx.Client) -> None:
    slow = speech(client, response_format="pcm", instructions="Speak slowly, in a warm tone.")
    assert slow.headers["x-speed"] == "0.85"
    assert slow.content == speech(client, response_format="pcm", speed=0.85).content
    cheerful = speech(client, response_format="pcm", instructions="Be cheerful.")
    assert cheerful.content == speech(client, response_format="pcm").content


@pytest.mark.parametrize(
    ("instructions", "pace"),
    [
        (None, 1.0),
        ("", 1.0),
        ("Speak in a cheerful and positive tone.", 1.0),
        ("Please talk slowly", 0.85),
        ("VERY SLOW", 0.85**2),
        ("a quick, bright delivery", 1.15),
        ("Really fast!", 1.15**2),
        ("Don't speak fast", 1.0),
        ("Don’t speak too fast", 1.0),
        ("Not too slow, but fast", 1.15),
        ("breakfast, slowpoke", 1.0),
    ],
)
def test_pace_words(instructions: str | None, pace: float) -> None:
    assert pace_of(instructions) == pytest.approx(pace)


def test_effective_speed_stays_in_range() -> None:
    assert effective_speed(4.0, "very fast") == 4.0
    assert effective_speed(0.25, "slowly") == 0.25


def test_all_names_of_openai_speak(client: httpx.Client) -> None:
    own = {voice: speech(client, voice=voice, response_format="pcm").content for voice in ("rms", "slt")}
    listed = client.get("/v1/audio/voices").json()["voices"]
    aliases = {name: voice["id"] for voice in listed for name in voice["aliases"]}
    assert set(aliases) == set(OPENAI_VOICES)
    assert len(aliases) == 13
    assert set(aliases.values()) == {"rms", "slt"}
    for name, voice in aliases.items():
        assert speech(client, voice=name, response_format="pcm").content == own[voice]


def voice(name: str, pitch: Literal["low", "high"] | None = None) -> Voice:
    return Voice(id=name, name=name, description="", pitch=pitch)


@pytest.mark.parametrize(
    ("voices", "low", "high"),
    [
        ([voice("a")], "a", "a"),
        ([voice("a"), voice("b"), voice("c")], "a", "b"),
        ([voice("a", "high"), voice("b", "low")], "b", "a"),
        ([voice("a", "high"), voice("b", "high"), voice("c", "low")], "c", "a"),
        ([voice("a", "low")], "a", "a"),
    ],
)
def test_names_of_openai_go_by_pitch(voices: list[Voice], low: str, high: str) -> None:
    names = names_of(voices)
    assert (names["onyx"], names["nova"]) == (low, high)


def test_a_voice_of_that_name_is_that_voice() -> None:
    names = names_of([voice("onyx", "high"), voice("b", "low")])
    assert (names["onyx"], names["echo"]) == ("onyx", "b")


@pytest.mark.parametrize("model", ["gpt-4o-mini-tts-2025-12-15", "tts-1-1106", "tts-2-2025-12-15"])
def test_a_model_by_its_day_is_that_model(client: httpx.Client, model: str) -> None:
    answer = client.post("/v1/audio/speech", json={"input": "Hi.", "model": model, "response_format": "pcm"})
    assert answer.status_code == (404 if model.startswith("tts-2") else 200)
