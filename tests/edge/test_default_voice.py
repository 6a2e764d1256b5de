"""The voice that a server has when no setting names a bundle, and the laws over a socket for it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from engines.families.shipped import DEFAULT
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

TEXT = "Good morning! Your train to Oxford leaves at nine fifteen from platform three. Is that all right?"
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def usual(monkeypatch_module: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch_module.delenv("PARLANDO_BUNDLE")
    with RunningServer() as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def asking(usual: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=usual.url, timeout=30) as one:
        yield one


def speech(asking: httpx.Client, **body: object) -> bytes:
    answer = asking.post("/v1/audio/speech", json={"input": TEXT, "response_format": "pcm", "seed": 5} | body)
    answer.raise_for_status()
    return answer.content


def test_the_default_is_the_voice_that_learned_from_people(asking: httpx.Client) -> None:
    assert asking.get("/v1/audio/models").json()["models"][0]["id"] == DEFAULT == "natural"
    voices = {one["id"]: one["aliases"] for one in asking.get("/v1/audio/voices").json()["voices"]}
    assert list(voices) == ["af_heart", "am_michael"]
    assert {"alloy", "nova"} < set(voices["af_heart"])
    assert {"onyx", "ash"} < set(voices["am_michael"])


@pytest.mark.parametrize("voice", ["af_heart", "am_michael", "af_heart+am_michael"])
def test_words_one_by_one_equal_the_whole(usual: RunningServer, asking: httpx.Client, voice: str) -> None:
    whole = speech(asking, voice=voice)
    assert len(whole) > 2 * 3 * RATE_HZ, "three seconds at least"
    with dial(usual) as socket:
        say(socket, type="start", seed=5, voice=voice)
        for word in TEXT.split():
            say(socket, type="append", text=word + " ")
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    assert pcm == whole
    words = [word for event in events if event["type"] == "words" for word in event["words"]]
    assert [TEXT[word["start_char"] : word["end_char"]] for word in words] == TEXT.split()
    starts = [word["start_s"] for word in words]
    assert starts == sorted(starts)


def test_voices_and_seeds_are_heard(asking: httpx.Client) -> None:
    heart = speech(asking)
    assert speech(asking) == heart
    assert speech(asking, voice="af_heart") == heart
    assert speech(asking, voice="nova") == heart
    assert speech(asking, voice="am_michael") != heart
    assert speech(asking, voice="onyx") == speech(asking, voice="am_michael")
    assert len(speech(asking, speed=1.25)) < 0.9 * len(heart)


def test_quiet_before_the_first_sound_is_left_out(asking: httpx.Client) -> None:
    sent, whole = speech(asking), speech(asking, leading_silence="keep")
    assert len(sent) < len(whole)
    assert whole.endswith(sent[RATE_HZ // 100 :]), "but for the fade-in"
