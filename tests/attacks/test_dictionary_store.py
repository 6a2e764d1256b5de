"""The folder of dictionaries: filled by strangers, poisoned by files, emptied by those who may not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from server.errors import ApiError
from server.speech.owners import UNUSED_S, Owner, Owners
from server.speech.pronunciations import KIND
from tests.attacks.victim import spared
from tests.edge.conftest import RunningServer
from tests.edge.toy import FakeClock, serving

PATH = "/v1/pronunciation-dictionaries"
LEXICON = "<lexicon><lexeme><grapheme>Nguyen</grapheme><alias>win {}</alias></lexeme></lexicon>"


def rules(number: int) -> dict[str, object]:
    rule = {"string_to_replace": "Nguyen", "type": "alias", "alias": f"win {number}"}
    return {"name": f"d{number}", "rules": [rule]}


def lexicon(encoding: str) -> bytes:
    return f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + LEXICON.format("").encode()


def bomb(levels: int) -> bytes:
    """A billion laughs."""
    entities = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, levels))
    return f'<!DOCTYPE lexicon [<!ENTITY e0 "ha">{entities}]>{LEXICON.format(f"&e{levels - 1};")}'.encode()


def caller(app: FastAPI, address: str = "10.0.0.1", **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers)


def test_an_address_without_a_key_fills_its_share_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(pronunciations=tmp_path, anonymous_dictionaries=3) as app,
            caller(app) as greedy,
            caller(app, "10.0.0.2") as other,
        ):
            answers = [await greedy.post(f"{PATH}/add-from-rules", json=rules(number)) for number in range(5)]
            assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
            told = answers[-1].json()["detail"]
            assert told["status"] == "quota_exceeded"
            assert "this address keeps 3 dictionaries, its limit is 3; remove one with DELETE" in told["message"]
            again = await greedy.post(f"{PATH}/add-from-rules", json=rules(0))
            assert again.json() == answers[0].json(), "the same again takes no place"
            assert (await other.post(f"{PATH}/add-from-rules", json=rules(7))).status_code == 200
            assert (await greedy.delete(f"{PATH}/d0")).json() == {"status": "ok"}
            assert (await greedy.post(f"{PATH}/add-from-rules", json=rules(8))).status_code == 200
        kept = {path.name for path in tmp_path.iterdir()}
        assert kept == {".added.json", "d1.json", "d2.json", "d7.json", "d8.json"}
        assert "10.0.0" not in (tmp_path / ".added.json").read_text()

    asyncio.run(scenario())


def test_only_who_added_a_dictionary_removes_it(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_text(json.dumps({"entries": [{"word": "a", "say": "b"}]}))

    async def scenario() -> None:
        async with (
            serving(pronunciations=tmp_path, api_keys="one,two", key_dictionaries=2) as app,
            caller(app, **{"xi-api-key": "one"}) as one,
            caller(app, **{"xi-api-key": "two"}) as two,
        ):
            for number in (1, 2):
                assert (await one.post(f"{PATH}/add-from-rules", json=rules(number))).status_code == 200
            refused = await one.post(f"{PATH}/add-from-rules", json=rules(3))
            assert (refused.status_code, refused.json()["detail"]["status"]) == (429, "quota_exceeded")
            for name, says in (("d1", "another client's"), ("ours", "the operator's")):
                refused = await two.delete(f"{PATH}/{name}")
                assert refused.status_code == 403
                assert says in refused.json()["detail"]["message"]
            assert (await two.delete(f"{PATH}/nowhere")).status_code == 404
            async with caller(app) as stranger:
                assert (await stranger.delete(f"{PATH}/d1")).status_code == 401
            seen = (await two.get(f"{PATH}/d1")).json()
            assert (seen["id"], seen["created_by"], seen["archived_time_unix"]) == ("d1", "caller", None)
        async with (  # started again, with a key more
            serving(pronunciations=tmp_path, api_keys="zero,one,two") as app,
            caller(app, **{"xi-api-key": "one"}) as one,
        ):
            gone = await one.patch(f"{PATH}/d1", json={"archived": True})
            assert gone.json()["archived_time_unix"] > 0
            assert (await one.patch(f"{PATH}/d2", json={"archived": False})).json()["archived_time_unix"] is None
            assert (await one.delete(f"{PATH}/d2")).status_code == 200
            listed = (await one.get(PATH)).json()["pronunciation_dictionaries"]
            assert [known["id"] for known in listed] == ["ours"]

    asyncio.run(scenario())


def test_strangers_of_many_addresses_share_half_of_the_table_and_not_for_ever(tmp_path: Path) -> None:
    clock = FakeClock()
    owners = Owners(tmp_path, KIND, of_key=64, of_address=16, clock=clock)
    names = [f"d{number}" for number in range(KIND.anonymous_share)]
    for number, name in enumerate(names):
        owner = Owner(name=f"address {number % 100}")
        assert owners.room_for(owner, names[:number]) is None
        owners.added(name, owner)
        clock.now += 1
    latest, key = Owner(name="address new"), Owner(name="key one")
    with pytest.raises(
        ApiError, match=f"{KIND.anonymous_share} of clients without a key .*come back in a day"
    ) as refused:
        owners.room_for(latest, names)
    assert refused.value.code == "quota_exceeded"
    assert owners.room_for(key, names) is None, "a key's share is not theirs"
    clock.now += UNUSED_S
    owners.used("d0")
    assert Owners(tmp_path, KIND, of_key=64, of_address=16, clock=clock).room_for(latest, names) == "d0"
    assert owners.room_for(latest, names) == "d1", "the longest unused makes room"


def test_unreadable_owner_records_give_no_owner_the_dictionaries_of_another(tmp_path: Path) -> None:
    (tmp_path / ".added.json").write_text("[" * 100_000)
    owners = Owners(tmp_path, KIND, of_key=1, of_address=1)
    assert not owners.owns(Owner(name="address x"), "d0")


UNREADABLE = {
    "gb.pls": lexicon("gb2312"),
    "unknown.pls": lexicon("no-such-encoding"),
    "hex.pls": lexicon("hex"),
    "bomb.pls": bomb(9),
    "deep.json": b'{"entries": ' + b"[" * 200_000,
    "huge.json": b'{"entries": [' + b"1" * 100_000 + b"]}",
    "nothing.json": b"",
    "binary.json": bytes(range(256)),
    "half.json": b'{"entries": [{"word": "\\ud800", "say": "x"}, {"word": "x", "say": "\\udc00"}]}',
    "large.json": b" " * (8 * 2**20 + 1),
}


def test_files_that_cannot_be_used_are_named_and_keep_no_server_from_starting(tmp_path: Path) -> None:
    for name, data in UNREADABLE.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "good.pls").write_bytes(lexicon("utf-8"))
    (tmp_path / "wide.pls").write_bytes(lexicon("utf-16").decode().encode("utf-16"))

    async def scenario() -> None:
        async with serving(pronunciations=tmp_path) as app, caller(app) as client:
            told = (await client.get(PATH)).json()
            assert [one["id"] for one in told["pronunciation_dictionaries"]] == ["good", "wide"]
            assert told["problems"].keys() == {name.partition(".")[0] for name in UNREADABLE}
            assert "write it in UTF-8" in told["problems"]["gb"]
            assert "document type" in told["problems"]["bomb"]
            assert "the limit is 8388608" in told["problems"]["large"]

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["gb.pls", "unknown.pls", "hex.pls", "bomb.pls"])
def test_lexicons_that_cannot_be_used_are_refused(client: httpx.Client, name: str) -> None:
    sent = {"content": UNREADABLE[name], "headers": {"Content-Type": "text/xml"}, "params": {"name": "x"}}
    answer = client.post(f"{PATH}/add-from-file", **sent)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert answer.json()["detail"]["message"]


def test_a_table_that_strangers_fill_beside_a_listener(tmp_path: Path) -> None:
    with (
        RunningServer(pronunciations=str(tmp_path), anonymous_dictionaries="16") as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        with spared(server):
            answers = [client.post(f"{PATH}/add-from-rules", json=rules(number)) for number in range(300)]
        assert [one.status_code for one in answers] == [200] * 16 + [429] * 284
        assert server.stop() == 0


def test_servers_on_one_folder_forget_no_owner(tmp_path: Path) -> None:
    one, other = (Owners(tmp_path, KIND, of_key=4, of_address=4) for _ in range(2))
    first, second = Owner(name="key one"), Owner(name="key two")
    one.added("first", first)
    other.reload()
    other.added("second", second)
    one.reload()
    for owners in (one, other, Owners(tmp_path, KIND, of_key=4, of_address=4)):
        assert owners.owns(first, "first")
        assert owners.owns(second, "second")
        assert not owners.owns(first, "second")
