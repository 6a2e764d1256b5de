"""What of a text was left out, or not done as its tags ask, reaches the clients of every protocol."""

from __future__ import annotations

import json

import httpx
import pytest

from engines.text import TextSettings
from server.settings import Settings
from tests.edge import test_eleven_ws as eleven
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

TEXT = "Hello 東京 <emphasis>there</emphasis>, Москва and مرحبا."
WARNINGS = [
    "left out: 2 characters of the Han script, 5 characters of the Arabic script",
    "<emphasis> has no effect here",
]


def test_http_tells_what_was_left_out(client: httpx.Client) -> None:
    answer = client.post("/v1/audio/speech", json={"input": TEXT, "response_format": "pcm"})
    assert answer.headers["x-left-out"] == "Han=2, Arabic=5"
    plain = client.post("/v1/audio/speech", json={"input": "Hello café α.", "response_format": "pcm"})
    assert "x-left-out" not in plain.headers


def test_events_tell_warnings(server: RunningServer, client: httpx.Client) -> None:
    body = {"input": TEXT, "response_format": "pcm", "stream_format": "sse"}
    last = client.post("/v1/audio/speech", json=body).text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["warnings"] == WARNINGS
    with dial(server) as socket:
        say(socket, type="append", text=TEXT)
        say(socket, type="end")
        assert hear(socket, "done")[1][-1]["warnings"] == WARNINGS
    with eleven.multi(server) as socket:
        eleven.say(socket, "one", text=TEXT)
        eleven.say(socket, "one", flush=True, close_context=True)
        assert eleven.hear(socket, "one")["one"][-1]["warnings"] == WARNINGS


def test_elevenlabs_clients_say_whether_tags_are_followed(client: httpx.Client) -> None:
    body = {"text": 'Hello <break time="2s"/> there.', "seed": 4}
    path = "/v1/text-to-speech/rms?output_format=pcm_24000"
    followed, dropped = (client.post(path + more, json=body).content for more in ("", "&enable_ssml_parsing=false"))
    assert len(followed) - len(dropped) > 1.5 * 2 * 24_000


@pytest.mark.parametrize("name", ["skip_reasoning", "skip_directions"])
def test_what_is_skipped_is_a_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert getattr(Settings(), name) is getattr(TextSettings(), name) is True
    monkeypatch.setenv(f"PARLANDO_{name.upper()}", "false")
    assert getattr(Settings(), name) is False
