"""Pronunciation dictionaries through every protocol: found by name and version, changed while the server runs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from engines.errors import ConfigError
from engines.text import parse_dictionary
from server.speech.pronunciations import Dictionaries
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say
from tests.edge.toy import AsgiSocket, ToyEngine, serving

TEXT = "Ask Nguyen about it."
SPOKEN = "Ask win about it."
ENTRIES = [{"word": "Nguyen", "say": "win"}]
STORED = {"dictionaries": ["names"]}


def keep(folder: Path, name: str, **dictionary: object) -> str:
    """Writes a dictionary's file. Returns its version."""
    (folder / f"{name}.json").write_text(json.dumps(dictionary))
    return parse_dictionary(dictionary, name).version


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pronunciations")
    keep(folder, "names", entries=ENTRIES)
    keep(folder, "cities", rules=[{"string_to_replace": "Oslo", "type": "alias", "alias": "oosh lo"}])
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[RunningServer]:
    with RunningServer(pronunciations=str(folder)) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def client(running: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as one:
        yield one


def openai(client: httpx.Client, text: str = TEXT, **body: object) -> httpx.Response:
    return client.post("/v1/audio/speech", json={"input": text, "seed": 3, "response_format": "pcm", **body})


def eleven(client: httpx.Client, *locators: dict[str, Any]) -> httpx.Response:
    body = {"text": TEXT, "seed": 3, "pronunciation_dictionary_locators": list(locators)}
    return client.post("/v1/text-to-speech/rms?output_format=pcm_24000", json=body)


def locator(name: str, version: str | None = None) -> dict[str, Any]:
    return {"pronunciation_dictionary_id": name, "version_id": version}


@pytest.fixture(scope="module")
def wanted(client: httpx.Client) -> bytes:
    wanted = openai(client, SPOKEN).content
    assert wanted != openai(client).content
    return wanted


@pytest.mark.parametrize(
    "asked",
    [
        {"entries": ENTRIES},
        STORED,
        {"dictionaries": [{"name": "names"}]},
        {"dictionaries": ["cities", {"name": "names", "version": "latest"}]},
        {"entries": ENTRIES, "dictionaries": ["cities"]},
    ],
)
def test_openai_requests_bring_their_own_or_name_them(
    client: httpx.Client, wanted: bytes, asked: dict[str, Any]
) -> None:
    assert openai(client, pronunciations=asked).content == wanted


def test_entries_of_the_request_win_over_stored_ones(client: httpx.Client) -> None:
    asked = {"entries": [{"word": "nguyen", "say": "new yen"}], **STORED}
    assert openai(client, pronunciations=asked).content == openai(client, "Ask new yen about it.").content


def test_word_times_point_into_the_callers_text(running: RunningServer, wanted: bytes) -> None:
    with dial(running) as socket:
        say(socket, type="start", seed=3, pronunciations=STORED)
        for piece in ("Ask Ngu", "yen about ", "it."):
            say(socket, type="append", text=piece)
        say(socket, type="end")
        pcm, events = hear(socket, "done")
    assert pcm == wanted
    words = [word["text"] for event in events for word in event.get("words", [])]
    assert words == TEXT.split()


def test_locators_of_elevenlabs_over_http(client: httpx.Client, folder: Path, wanted: bytes) -> None:
    version = parse_dictionary(json.loads((folder / "names.json").read_text()), "names").version
    for version_id in (None, "latest", version):
        assert eleven(client, locator("names", version_id)).content == wanted


@pytest.mark.parametrize("path", ["stream-input", "multi-stream-input"])
def test_locators_of_elevenlabs_on_websockets(running: RunningServer, wanted: bytes, path: str) -> None:
    url = f"ws://127.0.0.1:{running.port}/v1/text-to-speech/rms/{path}?output_format=pcm_24000&seed=3"
    named = {"context_id": "a"} if path.startswith("multi") else {}
    with connect(url, compression=None) as socket:
        opening = {"text": " ", "pronunciation_dictionary_locators": [locator("names")], **named}
        last = {"context_id": "a", "flush": True, "close_context": True} if named else {"text": ""}
        for message in (opening, {"text": TEXT, **named}, last):
            socket.send(json.dumps(message))
        pcm, chars = b"", ""
        while not (told := json.loads(socket.recv(timeout=20))).get("isFinal"):
            pcm += base64.b64decode(told["audio"])
            chars += "".join((told["alignment"] or {"chars": []})["chars"])
    assert pcm == wanted
    assert chars.strip() == TEXT


def test_the_utterance_is_named_after_the_dictionaries_content(client: httpx.Client, folder: Path) -> None:
    def name(**body: object) -> str:
        return openai(client, **body).headers["x-utterance-id"]

    assert name(pronunciations=STORED) == name(pronunciations={"entries": ENTRIES})
    others = [name(), name(pronunciations=STORED), name(pronunciations={"dictionaries": ["cities"]})]
    assert len(set(others)) == 3
    assert name() == name(pronunciations={})


def test_a_changed_file_counts_at_once_and_a_broken_one_never(client: httpx.Client, folder: Path) -> None:
    def heard() -> bytes:
        return openai(client, "Say Qux.", pronunciations={"dictionaries": ["moving"]}).content

    def listed() -> dict[str, Any]:
        told = client.get("/v1/pronunciation-dictionaries").json()
        return told | {"by_name": {one["name"]: one for one in told["pronunciation_dictionaries"]}}

    assert b"there are: cities, names" in heard()
    first = keep(folder, "moving", entries=[{"word": "Qux", "say": "kucks"}])
    assert heard() == openai(client, "Say kucks.").content
    second = keep(folder, "moving", entries=[{"word": "Qux", "say": "cue"}, {"word": "Foo", "say": "few"}])
    assert heard() == openai(client, "Say cue.").content
    stale = openai(client, pronunciations={"dictionaries": [{"name": "moving", "version": first}]}).json()["error"]
    assert second in stale["message"]
    assert stale["code"] == "unknown_dictionary"
    (folder / "moving.json").write_text('{"entries": [{"word": "Qux"}]}')
    assert heard() == openai(client, "Say cue.").content
    told = listed()
    assert told["by_name"]["moving"]["latest_version_id"] == second
    assert told["by_name"]["moving"]["latest_version_rules_num"] == 2
    assert "exactly one of say" in told["problems"]["moving"]
    (folder / "moving.json").unlink()
    assert b"there are: cities, names" in heard()
    assert set(listed()["by_name"]) == {"cities", "names"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"dictionaries": ["nmaes"]}, "no pronunciation dictionary 'nmaes'; there are: cities, names"),
        ({"dictionaries": ["../names"]}, "there are: cities, names"),
        ({"dictionaries": [{"name": "names", "version": "v0"}]}, "not 'v0'; leave it out for the latest"),
        ({"dictionaries": [7]}, "dictionaries"),
        ({"dictionaries": ["names"] * 17}, "at most 16"),
        ({"entries": [{"word": "x", "say": "y"}] * 1_001}, "at most 1000"),
        ({"entries": [{"word": "x"}]}, "dictionary 'request', entry 1 ('x'): give exactly one of say"),
        ({"entries": [{"word": "a", "ipa": "a"}, {"word": "x", "ipa": "ǁ"}]}, "entry 2"),
        ({"entries": [{"say": "y"}]}, "word"),
        ({"rules": []}, "rules"),
        ([], "pronunciations"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(client: httpx.Client, asked: object, says: str) -> None:
    answer = openai(client, pronunciations=asked)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert says in error["message"] + error["param"]
    assert error["param"].startswith("pronunciations")


def test_elevenlabs_is_told_in_its_own_words(client: httpx.Client, running: RunningServer) -> None:
    for wrong in (locator("nobody"), locator("names", "v0")):
        answer = eleven(client, wrong)
        detail = answer.json()["detail"]
        assert (answer.status_code, detail["status"]) == (404, "pronunciation_dictionary_not_found")
        assert "names" in detail["message"]
    assert eleven(client, {"version_id": "x"}).status_code == 422


def test_elevenlabs_websockets_refuse_the_message(tmp_path: Path) -> None:
    opening = {"text": " ", "pronunciation_dictionary_locators": [locator("nobody")]}

    async def scenario() -> None:
        async with serving(pronunciations=tmp_path) as app:
            async with AsgiSocket(app, path="/v1/text-to-speech/rms/stream-input") as single:
                single.raw(text=json.dumps(opening))
                told, closed = await single.recv(), await single.recv()
                assert isinstance(told, dict)
                assert (told["error"], told["code"]) == ("unknown_dictionary", 1008)
                assert closed == {"type": "close", "code": 1008, "reason": "unknown_dictionary"}
            async with AsgiSocket(app, path="/v1/text-to-speech/rms/stream-input") as single:
                single.raw(text=json.dumps({**opening, "voice_settings": {"speed": 9}}))
                told, closed = await single.recv(), await single.recv()
                assert isinstance(told, dict)
                assert (told["error"], "speed" in told["message"]) == ("invalid_parameter", True)
                assert closed == {"type": "close", "code": 1008, "reason": "invalid_parameter"}
            async with AsgiSocket(
                app, path="/v1/text-to-speech/rms/multi-stream-input", query="output_format=pcm_24000"
            ) as multi:
                multi.raw(text=json.dumps({**opening, "context_id": "a"}))
                told = await multi.recv()
                assert isinstance(told, dict)
                assert (told["error"], told["contextId"]) == ("unknown_dictionary", "a")
                multi.raw(text=json.dumps({"text": "word ", "context_id": "b", "flush": True}))
                told = await multi.recv()
                assert isinstance(told, dict)
                assert told["audio"]

    asyncio.run(scenario())


def test_a_refused_start_leaves_the_socket_and_its_other_contexts() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", context="live", text="one ")
            await socket.hear("waiting_for_text")
            socket.say("start", context="new", pronunciations=STORED)
            _, events = await socket.hear("error")
            assert (events[-1]["context"], events[-1]["code"]) == ("new", "unknown_dictionary")
            assert "this server keeps none" in events[-1]["message"]
            socket.say("start", context="new", pronunciations={"entries": ENTRIES})
            socket.say("append", context="new", text="Nguyen ")
            await socket.hear("waiting_for_text")  # so the engine knows of it
            asked = [voice.submit.option("pronunciations", ()) for voice in toy.voices.values()]
            assert asked == [(), (parse_dictionary({"entries": ENTRIES}, "request"),)]
            for name in ("live", "new"):
                socket.say("cancel", context=name)
                await socket.hear("cancelled")

    asyncio.run(scenario())


def test_names_are_told_to_those_who_may_speak(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(pronunciations=tmp_path, api_keys="one") as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                refused = await client.get("/v1/pronunciation-dictionaries")
                assert (refused.status_code, refused.json()["detail"]["status"]) == (401, "invalid_api_key")
                told = await client.get("/v1/pronunciation-dictionaries", headers={"xi-api-key": "one"})
                assert told.json() == {
                    "pronunciation_dictionaries": [], "has_more": False, "next_cursor": None, "problems": {},
                }  # fmt: skip

    asyncio.run(scenario())


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        Dictionaries(tmp_path / "nowhere")
