"""Pronunciation dictionaries that clients add: W3C's lexicons and ElevenLabs' rules, spoken at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from starlette.types import Message

from server.errors import ApiError
from server.http.multipart import form_fields
from tests.edge.conftest import RunningServer
from tests.edge.test_pronunciations import SPOKEN, eleven, locator, openai

LEXICON = b"<lexicon><lexeme><grapheme>Nguyen</grapheme><alias>win</alias></lexeme></lexicon>"
FILE, RULES = (f"/v1/pronunciation-dictionaries/add-from-{kind}" for kind in ("file", "rules"))
RULE = {"string_to_replace": "Nguyen", "type": "alias", "alias": "win"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("added")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with RunningServer(pronunciations=str(folder)) as server:
        with httpx.Client(base_url=server.url, timeout=30) as one:
            yield one
        assert server.stop() == 0


def test_a_lexicon_is_kept_and_spoken_at_once(client: httpx.Client, folder: Path) -> None:
    wanted = openai(client, SPOKEN).content
    form = {"name": "Our names", "description": "ours"}
    added = client.post(FILE, data=form, files={"file": ("names.pls", LEXICON, "text/xml")}).json()
    assert (added["id"], added["name"], added["version_rules_num"]) == ("Our-names", "Our names", 1)
    assert eleven(client, locator(added["id"], added["version_id"])).content == wanted
    assert (folder / "Our-names.pls").read_bytes() == LEXICON
    again = client.post(FILE, content=LEXICON, headers={"Content-Type": "text/xml"}, params={"name": "Our names"})
    assert again.json() == added
    listed = client.get("/v1/pronunciation-dictionaries").json()["pronunciation_dictionaries"]
    assert [one["id"] for one in listed] == ["Our-names"]


def test_rules_are_kept_and_spoken_at_once(client: httpx.Client) -> None:
    added = client.post(RULES, json={"name": "rules", "rules": [RULE], "workspace_access": "viewer"}).json()
    assert (added["id"], added["version_rules_num"]) == ("rules", 1)
    assert eleven(client, locator("rules")).content == openai(client, SPOKEN).content


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"url": FILE, "content": b"", "headers": {"Content-Type": "text/xml"}}, 422, "name"),
        ({"url": FILE, "content": LEXICON, "headers": {"Content-Type": "text/xml"}}, 422, "name"),
        ({"url": FILE, "content": LEXICON}, 400, "boundary"),
        ({"url": FILE, "data": {"name": "x"}, "files": {"other": b"y"}}, 422, "file"),
        ({"url": FILE, "data": {"name": "x"}, "files": {"file": b"<!DOCTYPE lexicon><lexicon/>"}}, 400, "document"),
        ({"url": FILE, "data": {"name": "x"}, "files": {"file": b" " * 300_000}}, 413, "limit"),
        ({"url": RULES, "json": {"name": "x", "rules": []}}, 422, "rules"),
        ({"url": RULES, "content": b'{"name": "\\ud800", "rules": [{}]}'}, 422, "surrogate"),
        ({"url": RULES, "content": b'{"name": "x", "rules": [{"string_to_replace": "\\ud800"}]}'}, 400, "type"),
        (
            {"url": RULES, "json": {"name": "x", "rules": [RULE | {"type": "phoneme", "alphabet": "sampa"}]}},
            400,
            "'sampa'",
        ),
    ],
)
def test_refused_in_elevenlabs_words(client: httpx.Client, asked: dict[str, object], status: int, says: str) -> None:
    answer = client.request("POST", **asked)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert says in str(answer.json()["detail"])


def test_a_server_without_a_folder_keeps_none(server: RunningServer) -> None:
    answer = httpx.post(server.url + RULES, json={"name": "x", "rules": [RULE]}, timeout=30)
    assert answer.status_code == 403
    assert answer.json()["detail"]["status"] == "read_only"


def fields(content_type: str, body: bytes) -> dict[str, str | bytes]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "app": None, "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return asyncio.run(form_fields(Request(scope, receive)))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nnameless\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 20 + b"--x--",
        ),
    ],
)
def test_a_broken_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ApiError):
        fields(content_type, body)


def test_a_field_without_its_end_is_no_field() -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    assert fields("multipart/form-data; boundary=x", head + b"endless") == {}


def test_a_forms_bytes_are_untouched() -> None:
    content = bytes(range(256)) + b"\r\n--y\r\n"
    head = b'--x\r\ncontent-disposition: form-data; filename="b"; name="a"\r\nX: y\r\n\r\n'
    assert fields('multipart/form-data; boundary="x"', head + content + b"\r\n--x--") == {"a": content}
