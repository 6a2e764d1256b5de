"""Quiet before the first sound, as clients of a real server meet it: fields, setting, ids, times, metrics."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from engines.leading_quiet import loud_windows
from server.audio import OFFERED_HZ
from server.settings import Settings
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

TEXT = "Hello there, please hold the line."


def asked(client: httpx.Client, **fields: object) -> httpx.Response:
    body = {"input": TEXT, "seed": 5, "response_format": "pcm", **fields}
    answer = client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def natively(server: RunningServer, **fields: object) -> tuple[bytes, list[dict[str, object]]]:
    """A word at a time."""
    with dial(server) as socket:
        say(socket, type="start", seed=5, **fields)
        for word in TEXT.split():
            say(socket, type="append", text=word + " ")
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    return pcm, events


@pytest.mark.parametrize("rate_hz", OFFERED_HZ)
def test_speech_begins_with_sound_at_every_rate(server: RunningServer, client: httpx.Client, rate_hz: int) -> None:
    trimmed, kept = (asked(client, sample_rate=rate_hz, leading_silence=one) for one in ("trim", "keep"))
    assert trimmed.headers["x-utterance-id"] != kept.headers["x-utterance-id"]
    assert asked(client, sample_rate=rate_hz, leading_silence=None).content == trimmed.content
    ours, whole = (np.frombuffer(one.content, "<i2") for one in (trimmed, kept))
    assert int(np.argmax(loud_windows(ours, rate_hz))) <= 6
    assert not loud_windows(whole[: len(whole) - len(ours)], rate_hz).any()
    pcm, events = natively(server, sample_rate=rate_hz)
    assert pcm == trimmed.content
    assert events[-1]["audio_ms"] == pytest.approx(1000 * len(ours) / rate_hz, abs=0.01)


def test_words_and_audible_ttfa_count_what_was_sent(server: RunningServer) -> None:
    trimmed, kept = (natively(server, leading_silence=one) for one in ("trim", "keep"))
    withheld_s = (len(kept[0]) - len(trimmed[0])) / 2 / 24_000
    ends = [
        [word["end_s"] for event in events if event["type"] == "words" for word in event["words"]]  # type: ignore[attr-defined]
        for _, events in (trimmed, kept)
    ]
    assert withheld_s > 0.02
    assert ends[0] == pytest.approx([one - withheld_s for one in ends[1]], abs=1e-5)
    for pcm, events in (trimmed, kept):
        done = events[-1]
        leading_ms = 10 * int(np.argmax(loud_windows(np.frombuffer(pcm, "<i2"), 24_000)))
        # A listener that ran dry before the sound hears it later, never earlier.
        assert float(str(done["audible_ttfa_ms"])) >= float(str(done["ttfa_ms"])) + leading_ms - 0.02


def test_a_stretched_beginning_is_the_same_bytes_each_time(server: RunningServer, client: httpx.Client) -> None:
    for speed in (0.3, 3.0):
        assert natively(server, speed=speed)[0] == asked(client, speed=speed).content


def test_time_to_audible_stands_beside_first_audio(client: httpx.Client) -> None:
    def figures(name: str) -> tuple[float, float]:
        lines = client.get("/metrics").text.splitlines()
        found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
        return tuple(found[f'tts_{name}_seconds_{what}{{protocol="openai"}}'] for what in ("count", "sum"))  # type: ignore[return-value]

    before = figures("time_to_first_audio"), figures("time_to_audible")
    asked(client, leading_silence="keep")
    after = figures("time_to_first_audio"), figures("time_to_audible")
    (first_count, first_s), (audible_count, audible_s) = (
        (now[0] - then[0], now[1] - then[1]) for now, then in zip(after, before, strict=True)
    )
    assert (first_count, audible_count) == (1, 1)
    assert audible_s > first_s + 0.02


def test_other_values_are_refused_by_name(server: RunningServer, client: httpx.Client) -> None:
    answer = client.post("/v1/audio/speech", json={"input": TEXT, "leading_silence": "off"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "leading_silence")
    assert "'trim' or 'keep', got 'off'" in answer.json()["error"]["message"]
    with dial(server) as socket:
        say(socket, type="start", leading_silence=1)
        _, events = hear(socket, "error")
    assert events[-1]["param"] == "leading_silence"
    with pytest.raises(ValidationError, match="leading_silence"):
        Settings(leading_silence="off")  # type: ignore[arg-type]


def test_the_setting_holds_for_all_and_a_request_overrules_it() -> None:
    with RunningServer(leading_silence="keep") as keeps, httpx.Client(base_url=keeps.url, timeout=30) as client:
        kept, trimmed = asked(client), asked(client, leading_silence="trim")
        assert natively(keeps)[0] == kept.content
        assert len(trimmed.content) < len(kept.content)
        assert keeps.stop() == 0
