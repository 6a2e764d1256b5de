"""Mixed voices, borrowed timbres and moved pitch on every door: the same samples, other names, precise refusals."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner
from websockets.sync.client import connect

from server.cli import app
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

TEXT = "Two voices share this."
MIX = "rms(2)+slt(1)"


def openai(client: httpx.Client, **asked: object) -> httpx.Response:
    return client.post("/v1/audio/speech", json={"input": TEXT, "seed": 4, "response_format": "pcm", **asked})


def nari(server: RunningServer, voice: str) -> bytes:
    pcm = b""
    with connect(server.ws_url, subprotocols=["nari.speech.v1"], compression=None) as socket:  # type: ignore[list-item]
        say(socket, type="request.start", voice=voice, seed=4)
        say(socket, type="input_text.append", sequence=0, text=TEXT)
        say(socket, type="input_text.end", sequence=1)
        for message in socket:
            pcm += message if isinstance(message, bytes) else b""
    return pcm


def eleven(client: httpx.Client, voice: str) -> httpx.Response:
    return client.post(f"/v1/text-to-speech/{voice}?output_format=pcm_24000", json={"text": TEXT, "seed": 4})


@pytest.mark.parametrize(
    "asked",
    [
        {"voice": MIX},
        {"voice": "rms", "timbre": "slt+awb(0.5)"},
        {"voice": "slt", "timbre": "rms", "pitch_semitones": 3.5},
        {"pitch_semitones": -4},
    ],
)
def test_over_the_socket_as_over_http(server: RunningServer, client: httpx.Client, asked: dict[str, Any]) -> None:
    whole = openai(client, **asked)
    with dial(server) as socket:
        say(socket, type="start", seed=4, **asked)
        for word in TEXT.split():
            say(socket, type="append", text=word + " ")
        say(socket, type="end")
        pcm, _ = hear(socket, "done")
        say(socket, type="start", seed=4, **asked)
        say(socket, type="append", text=TEXT)
        say(socket, type="end")
        again, events = hear(socket, "done")
    assert pcm == again == whole.content
    assert whole.content != openai(client).content
    assert events[-1]["id"].startswith("spk-")


def test_a_mix_is_a_voice_in_every_dialect(server: RunningServer, client: httpx.Client) -> None:
    mixed = openai(client, voice=MIX).content
    assert openai(client, voice={"id": " slt + ash(2) "}).content == mixed
    assert eleven(client, MIX).content == mixed
    assert nari(server, MIX) == mixed
    path = f"{server.ws_url.removesuffix('/v1/audio/speech/ws')}/v1/text-to-speech/{MIX}/stream-input"
    with connect(f"{path}?output_format=pcm_24000&seed=4", compression=None) as socket:
        for text in (TEXT + " ", ""):
            socket.send(json.dumps({"text": text}))
        told = [json.loads(message) for message in socket]
    assert told[-1]["isFinal"]
    assert not [message for message in told if "error" in message]
    described = client.get(f"/v1/voices/{MIX}").json()
    assert (described["voice_id"], described["category"]) == (MIX, "generated")
    assert described["description"] == "a mix: Flite rms 67%, Flite slt 33%"


def test_ids_tell_all_of_it_apart_and_nothing_else(client: httpx.Client) -> None:
    apart: list[dict[str, Any]] = [
        {},
        {"voice": "slt"},
        {"voice": "rms+slt"},
        {"voice": "slt+rms"},
        {"voice": MIX},
        {"timbre": "slt"},
        {"voice": "slt", "timbre": "rms"},
        {"pitch_semitones": 1},
        {"pitch_semitones": 1.01},
        {"pitch_semitones": -1},
        {"timbre": "slt", "pitch_semitones": 1},
    ]
    answers = [openai(client, **asked) for asked in apart]
    assert len({answer.headers["x-utterance-id"] for answer in answers}) == len(apart)
    assert len({answer.content for answer in answers}) == len(apart)
    same: list[tuple[dict[str, Any], int]] = [
        ({"voice": "rms(7)", "timbre": "rms", "pitch_semitones": -0.0}, 0),
        ({"voice": "alloy"}, 1),
        ({"voice": "rms(0.5)+nova(0.5)"}, 2),
        ({"voice": "rms", "timbre": "slt+rms"}, 2),
        ({"voice": "slt(10)+rms(20)"}, 4),
        ({"voice": "rms+awb", "timbre": "coral"}, 5),
    ]
    for asked, place in same:
        answer = openai(client, **asked)
        assert answer.headers["x-utterance-id"] == answers[place].headers["x-utterance-id"], asked
        assert answer.content == answers[place].content


@pytest.mark.parametrize(
    ("asked", "code", "param", "says"),
    [
        (
            {"voice": "rms+nobody"},
            "unknown_voice",
            "voice",
            "'nobody' in the mix 'rms+nobody' does not exist; valid: rms",
        ),
        ({"timbre": "nobody"}, "unknown_voice", "timbre", "'nobody' does not exist; valid: rms"),
        (
            {"voice": "rms(0)+slt"},
            "invalid_parameter",
            "voice",
            "the weight '0' in 'rms(0)+slt' is not a positive number",
        ),
        ({"timbre": "rms(x)+slt"}, "invalid_parameter", "timbre", "the weight 'x'"),
        ({"voice": "rms+rms(2)"}, "invalid_parameter", "voice", "names the voice 'rms' twice"),
        ({"voice": "rms+slt+awb+kal16+rms"}, "invalid_parameter", "voice", "5 voices, the limit is 4"),
        ({"pitch_semitones": 12.5}, "invalid_parameter", "pitch_semitones", "less than or equal to 12, got 12.5"),
        ({"pitch_semitones": "up"}, "invalid_parameter", "pitch_semitones", "got 'up'"),
        ({"timbre": 7}, "invalid_parameter", "timbre", "got 7"),
    ],
)
def test_refusals_name_value_and_remedy(
    server: RunningServer, client: httpx.Client, asked: dict[str, Any], code: str, param: str, says: str
) -> None:
    answer = openai(client, **asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert says in error["message"]
    with dial(server) as socket:
        say(socket, type="start", **asked)
        _, events = hear(socket, "error")
        assert (events[-1]["code"], events[-1]["param"]) == (code, param)
        assert says in events[-1]["message"]
        say(socket, type="append", text="Fine. ")
        say(socket, type="end")
        hear(socket, "done")
    if param == "voice":
        refused = eleven(client, asked["voice"])
        assert refused.status_code == (404 if code == "unknown_voice" else 400)
        assert says in refused.json()["detail"]["message"]
        assert client.get(f"/v1/voices/{asked['voice']}").status_code in (400, 404)


def test_the_command_line_says_the_same(client: httpx.Client, tmp_path: Path) -> None:
    out = tmp_path / "said.wav"
    given = ["say", TEXT, "--voice", "rms+slt(2)", "--timbre", "awb", "--pitch", "-2.5", "--seed", "4", "-o", str(out)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    with wave.open(io.BytesIO(out.read_bytes())) as file:
        pcm = file.readframes(file.getnframes())
    assert pcm == openai(client, voice="slt", timbre="awb", pitch_semitones=-2.5).content
    assert CliRunner().invoke(app, ["say", TEXT, "--voice", "rms+nobody"]).exit_code == 1
    assert CliRunner().invoke(app, ["say", TEXT, "--pitch", "13"]).exit_code == 2
