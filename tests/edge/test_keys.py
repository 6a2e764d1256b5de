"""API keys, their quotas, and the origins of web pages."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from server.access import Access, Caller, Quota, current_caller, read_keys
from server.errors import ApiError
from server.settings import Settings
from server.watched_file import WatchedFile
from tests.edge.test_limits import refusal
from tests.edge.toy import AsgiSocket, FakeClock, serving


@pytest.mark.parametrize(
    ("headers", "subprotocols", "passes"),
    [
        ({}, ["parlando.v1"], False),
        ({"authorization": "Bearer wrong"}, ["parlando.v1"], False),
        ({"authorization": "Basic two"}, ["parlando.v1"], False),
        ({"authorization": "Bearer two"}, ["parlando.v1"], True),
        ({"authorization": "bearer filed"}, ["parlando.v1"], True),
        ({"authorization": "Token one"}, ["parlando.v1"], True),
        ({"xi_api_key": "one"}, ["parlando.v1"], True),
        ({}, ["parlando.v1", "parlando.key.two"], True),
        ({}, ["parlando.v1", "parlando.key.thr"], False),
        ({}, ["parlando.v1", "token", "two"], True),
        ({}, ["parlando.v1", "two", "token"], False),
        ({}, ["parlando.v1", "openai-insecure-api-key.one"], True),
        ({"authorization": "Bearer wrong"}, ["nari.speech.v1"], False),
    ],
)
def test_keys(tmp_path: Path, headers: dict[str, str], subprotocols: list[str], passes: bool) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfiled name=file streams=1\n")

    async def scenario() -> None:
        settings = {"api_keys": "one, two", "api_keys_file": file}
        async with serving(**settings) as app, AsgiSocket(app, *subprotocols, **headers) as socket:
            if passes:
                socket.say("append", text="word")
                socket.say("end")
                await socket.hear("done")
                return
            message, closed = await socket.recv(), await socket.recv()
            assert isinstance(message, dict)
            assert isinstance(closed, dict)
            told = message.get("error", message)
            assert (message["type"], told["code"], closed["code"]) == ("error", "invalid_api_key", 1008)

    asyncio.run(scenario())


def test_the_keys_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", FakeClock()
    file.write_text("old streams=2\nkept streams=1\n")
    access = Access(Settings(api_keys_file=file), clock)

    def found(key: str) -> Caller | None:
        try:
            access.check_key(HTTPConnection({"type": "http", "headers": []}), key)
        except ApiError:
            return None
        return current_caller()

    def caller(key: str) -> Caller | None:
        return copy_context().run(found, key)  # as a request's own: the tests that follow have no caller

    kept = caller("kept")
    assert kept is not None
    kept.open_stream()
    replaced = tmp_path / "next"
    replaced.write_text("kept name=k streams=3\nnew\n")
    replaced.replace(file)
    assert caller("old") is not None  # looked at once a second
    clock.now += 1
    assert caller("old") is None
    assert caller("new") is not None
    assert caller("kept") is kept
    assert (kept.name, kept.quota.streams, kept.streams) == ("k", 3, 1)
    file.write_text("new streams=many")
    clock.now += 1
    assert caller("new") is not None  # an error leaves the keys as they were
    file.unlink()
    clock.now += 1
    assert caller("new") is not None
    file.write_text("")
    clock.now += 1
    assert caller("new") is None  # no keys, no callers
    assert access.wants_keys


def test_a_keys_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("key streams=many")
    with pytest.raises(ValueError, match="line 1"):
        read_keys(file, Quota())
    file.write_text("\ufeffkey name=a streams=2\n# note\nother characters_per_minute=9 # note\nab#cd\n")
    assert read_keys(file, Quota(streams=7)) == [
        ("a", "key", Quota(streams=2)),
        ("line-3", "other", Quota(streams=7, characters_per_minute=9)),
        ("line-4", "ab#cd", Quota(streams=7)),
    ]
    for wrong in ("streams=0", "characters_per_minute=00", "streams=-1", "streams=²"):
        file.write_text(f"key {wrong}")
        with pytest.raises(ValueError, match="N at least 1"):
            read_keys(file, Quota())
    file.write_bytes(b"key\xff")
    with pytest.raises(ValueError, match="keys is no UTF-8 text"):
        read_keys(file, Quota())
    with pytest.raises(OSError, match=r"api_keys_file .*/none: No such file"):
        Access(Settings(api_keys_file=tmp_path / "none"), FakeClock())


def test_a_file_that_may_be_read_now_has_changed(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", FakeClock()
    file.write_text("key")
    watched = WatchedFile(file, clock)
    file.chmod(0o600)
    clock.now += 1
    assert watched.has_changed()
    clock.now += 1
    assert not watched.has_changed()


def test_the_account_of_clients_without_keys_may_end(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", FakeClock()
    file.write_text("wy\nother\n")
    access = Access(Settings(api_keys_file=file), clock)
    assert access.may_enter("wy")
    copy_context().run(access.enter_as, "wy")
    file.write_text("other\n")
    clock.now += 1
    for content in ("other\n", ""):
        file.write_text(content)
        clock.now += 1
        with pytest.raises(ApiError, match="is one no more"):
            access.enter_as("wy")
        assert not access.may_enter(None), "no keys, no callers"


@pytest.mark.parametrize(
    ("origin", "allowed", "passes"),
    [
        ("http://here", "", True),
        ("http://evil.example", "", False),
        ("null", "", False),
        ("https://app.example", "https://app.example, https://b.example", True),
        ("https://app.example.evil", "https://app.example", False),
        ("http://evil.example", "*", True),
    ],
)
def test_web_pages_are_let_in_by_their_origin(origin: str, allowed: str, passes: bool) -> None:
    async def scenario() -> None:
        async with serving(allowed_origins=allowed) as app, AsgiSocket(app, "parlando.v1", origin=origin) as socket:
            socket.say("append", text="word")
            if passes:
                await socket.hear("started")
            else:
                assert await refusal(socket) == ("origin_not_allowed", 1008)

    asyncio.run(scenario())


def test_a_key_has_its_streams_and_its_characters() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        settings: dict[str, Any] = {"api_keys": "one,two", "key_streams": 1, "key_characters_per_minute": 60}
        async with serving(clock=clock, **settings) as app:
            headers = {"authorization": "Bearer one"}
            async with (
                AsgiSocket(app, **headers) as first,
                AsgiSocket(app, **headers) as second,
                AsgiSocket(app, authorization="Bearer two") as other,
            ):
                first.say("append", text="x " * 45)
                await first.hear("started")
                second.say("append", text="more")
                _, events = await second.hear("error")
                assert events[-1]["code"] == "quota_exceeded"
                assert events[-1]["retry_after_s"] == 1
                other.say("append", text="word")
                other.say("end")
                await other.hear("done")
                first.say("cancel")
                await first.hear("cancelled")
                second.say("append", text="more")  # 90 of 60 characters are spent
                _, events = await second.hear("error")
                assert events[-1]["retry_after_s"] == 31
                clock.now += 31
                second.say("append", text="more")
                second.say("end")
                await second.hear("done")

    asyncio.run(scenario())
