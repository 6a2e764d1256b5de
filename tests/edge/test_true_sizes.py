"""Answers of known length: their sizes, ranges of them, and URLs that players load."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import time
import wave
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from server.http.byte_ranges import OutOfRange, byte_range
from tests.edge.toy import serving, word_pcm

PATH = "/v1/audio/speech"
TEXT = "one two three"
PCM = b"".join(map(word_pcm, TEXT.split()))
KEY = {"authorization": "Bearer one"}
Scenario = Callable[[httpx.AsyncClient, Any], Awaitable[None]]


def served(scenario: Scenario, **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                await scenario(client, app)
            assert app.state.parlando.held.held_bytes == 0

    asyncio.run(run())


def get(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **asked: str) -> Awaitable[httpx.Response]:
    fields = {"input": TEXT, "response_format": "wav", **asked}
    return client.get(f"{PATH}?{urlencode(fields)}", headers=headers)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (None, None),
        ("bytes=0-", range(100)),
        ("bytes=0-0", range(1)),
        ("bytes=10-19", range(10, 20)),
        ("Bytes = 90-200", range(90, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        ("bytes=99-", range(99, 100)),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("words=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_ranges(asked: str | None, wanted: range | None) -> None:
    assert byte_range(asked, 100) == wanted


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_of_nothing(asked: str) -> None:
    with pytest.raises(OutOfRange):
        byte_range(asked, 100)


def test_a_wav_of_known_length_says_so() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        body = {"input": TEXT, "response_format": "wav"}
        answers = [
            await client.post(PATH, json={**body, "stream": False}),
            await client.post(PATH, json=body, headers={"range": "bytes=0-9"}),  # ranges are for GET
            await get(client, stream="false"),
            await client.post(
                "/v1/text-to-speech/rms?output_format=wav_24000", json={"text": TEXT}, headers={"range": "bytes=0-"}
            ),
        ]
        for answer in answers:
            assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
            assert int(answer.headers["content-length"]) == 44 + len(PCM)
            with wave.open(io.BytesIO(answer.content)) as file:
                assert file.readframes(file.getnframes()) == PCM
                assert file.getnframes() == len(PCM) // 2
        streamed = await client.post(PATH, json=body)
        assert "content-length" not in streamed.headers
        assert streamed.content[44:] == PCM

    served(scenario)


@pytest.mark.parametrize("form", ["mp3", "opus", "webm", "flac", "aac", "pcm", "pcm_f32", "ulaw", "wav"])
def test_whole_and_streamed_are_the_same_audio(form: str) -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        whole = await get(client, response_format=form, stream="false")
        streamed = await get(client, response_format=form)
        head = 44 if form == "wav" else 0
        assert int(whole.headers["content-length"]) == len(whole.content)
        assert whole.content[head:] == streamed.content[head:]

    served(scenario)


def test_ranges_of_a_url_fit_together() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        whole = await get(client, stream="false")
        size, tag = len(whole.content), whole.headers["etag"]
        assert whole.headers["accept-ranges"] == "bytes"
        parts = []
        for first in range(0, size, 5_000):
            answer = await get(client, {"range": f"bytes={first}-{first + 4_999}", "if-range": tag})
            last = min(size, first + 5_000) - 1
            assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
            assert int(answer.headers["content-length"]) == len(answer.content)
            parts.append(answer.content)
        assert b"".join(parts) == whole.content
        beyond = await get(client, {"range": f"bytes={size}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
        assert f"has {size} bytes" in beyond.json()["error"]["message"]
        other = await get(client, {"range": "bytes=0-9", "if-range": '"other"'})
        assert (other.status_code, other.content) == (200, whole.content)
        # The whole of a format that names no size needs not wait for its end.
        streamed = await get(client, {"range": "bytes=0-"}, response_format="mp3")
        assert (streamed.status_code, "content-length" in streamed.headers) == (200, False)

    served(scenario)


def test_a_fault_on_the_way_has_a_status_and_what_is_held_is_bounded() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        answer = await client.post(PATH, json={"input": "one FAULT", "response_format": "wav", "stream": False})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "engine_fault")
        app.state.parlando.held.limit_bytes = 10_000
        answer = await client.post(PATH, json={"input": TEXT, "response_format": "wav", "stream": False})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "the limit is 10000" in answer.json()["error"]["message"]

    served(scenario)


@pytest.mark.parametrize(
    ("headers", "origins", "status"),
    [
        ({}, "", 200),
        ({"sec-fetch-site": "same-origin"}, "", 200),
        ({"sec-fetch-site": "none"}, "", 200),
        ({"sec-fetch-site": "same-site"}, "", 403),
        ({"sec-fetch-site": "cross-site"}, "", 403),
        ({"sec-fetch-site": "cross-site"}, "https://app.example", 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://app.example"}, "https://app.example", 200),
        ({"sec-fetch-site": "cross-site", "origin": "https://b.example"}, "https://app.example", 403),
        ({"sec-fetch-site": "cross-site"}, "*", 200),
    ],
)
def test_a_plain_player_plays_from_its_own_site(headers: dict[str, str], origins: str, status: int) -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        answer = await get(client, headers)
        assert answer.status_code == status
        if status != 200:
            assert "PARLANDO_ALLOWED_ORIGINS" in answer.json()["error"]["message"]

    served(scenario, allowed_origins=origins)


def test_the_same_url_is_the_same_audio() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        first, second = await get(client, stream="false"), await get(client, stream="false")
        assert first.headers["x-seed"] == second.headers["x-seed"] == "0"
        assert first.headers["etag"] == second.headers["etag"]
        wrong = await get(client, seed="-1")
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "seed")

    served(scenario)


async def signed(client: httpx.AsyncClient, **body: object) -> str:
    asked = {"input": TEXT, "voice": {"id": "rms"}, "response_format": "wav", **body}
    answer = await client.post(f"{PATH}/url", json=asked, headers=KEY)
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["url"]
    return url


def test_a_signed_url_speaks_without_a_key() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        url = await signed(client, seed=7)
        anywhere = {"sec-fetch-site": "cross-site"}
        answer = await client.get(url, headers=anywhere)
        assert (answer.status_code, answer.headers["x-seed"]) == (200, "7")
        assert answer.content[44:] == PCM
        refused = await get(client)
        assert refused.status_code == 401
        fields = dict(parse_qsl(urlsplit(url).query))
        for name, value in (("input", "another"), ("voice", "slt"), ("expires", str(int(fields["expires"]) + 1))):
            changed = await client.get(f"{PATH}?{urlencode({**fields, name: value})}")
            assert (changed.status_code, changed.json()["error"]["code"]) == (401, "invalid_signature")
        more = await client.get(f"{url}&speed=2")
        assert more.status_code == 401

    served(scenario, api_keys="one,two")


def by_hand(key: str, expires: int) -> str:
    """As docs/wire.md says."""
    pairs = sorted({"input": TEXT, "response_format": "wav", "expires": str(expires)}.items())
    secret = hashlib.sha256(key.encode()).digest()
    signature = hmac.new(secret, f"GET {PATH}?{urlencode(pairs)}".encode(), hashlib.sha256).hexdigest()
    return f"{PATH}?{urlencode([*pairs, ('signature', signature)])}"


def test_a_client_may_sign_and_nothing_is_valid_for_long() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        now = round(time.time())
        assert (await client.get(by_hand("two", now + 60))).content[44:] == PCM
        for wrong in (by_hand("three", now + 60), by_hand("two", now - 1), by_hand("two", now + 7_200)):
            answer = await client.get(wrong)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_signature")

    served(scenario, api_keys="one,two")


def test_a_signed_url_speaks() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        for body, param in (
            ({"input": "x" * 300}, "input"),
            ({"voice": "none"}, "voice"),
            ({"expires_in_s": 4_000}, "expires_in_s"),
            ({"pronunciations": {"entries": [{"word": "a", "say": "b"}]}}, "pronunciations"),
        ):
            answer = await client.post(f"{PATH}/url", json={"input": TEXT, **body}, headers=KEY)
            assert (answer.status_code // 100, answer.json()["error"]["param"]) == (4, param)
        assert (await client.post(f"{PATH}/url", json={"input": TEXT})).status_code == 401

    served(scenario, api_keys="one", max_characters=256)


def test_a_url_counts_against_its_keys_quota() -> None:
    async def scenario(client: httpx.AsyncClient, app: Any) -> None:
        url = await signed(client)
        assert [(await client.get(url)).status_code for _ in range(3)] == [200, 200, 429]

    served(scenario, api_keys="one", key_characters_per_minute=20)
