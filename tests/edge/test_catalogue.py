"""Lists that clients of ElevenLabs and of other servers ask for."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.edge.toy import serving


def ask(*paths: str, key: str = "", settings: Any = None) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        async with serving(**(settings or {})) as app:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return [await client.get(path, headers={"xi-api-key": key}) for path in paths]

    return asyncio.run(run())


def test_voices_in_pages() -> None:
    def page(query: str) -> tuple[list[str], bool, int, str | None]:
        told = ask(f"/v2/voices?{query}")[0].json()
        names = [voice["voice_id"] for voice in told["voices"]]
        return names, told["has_more"], told["total_count"], told["next_page_token"]

    assert page("") == (["rms", "slt", "awb", "kal16"], False, 4, None)
    assert page("page_size=3") == (["rms", "slt", "awb"], True, 4, "awb")
    assert page("page_size=3&next_page_token=awb") == (["kal16"], False, 4, None)
    assert page("search=SLT") == (["slt"], False, 1, None)
    assert page("voice_ids=awb&voice_ids=rms") == (["rms", "awb"], False, 2, None)
    rising, falling = page("sort=name")[0], page("sort=name&sort_direction=desc")[0]
    assert falling == rising[::-1]
    wrong = ask("/v2/voices?next_page_token=nemo")[0]
    assert (wrong.status_code, "nemo" in wrong.json()["detail"]["message"]) == (400, True)


def test_settings_of_voices() -> None:
    default, one, mix, none = ask(
        "/v1/voices/settings/default",
        "/v1/voices/slt/settings",
        "/v1/voices/rms+slt/settings",
        "/v1/voices/nemo/settings",
    )
    assert default.json() == one.json() == mix.json() == {"speed": 1.0}
    assert (none.status_code, none.json()["detail"]["status"]) == (404, "voice_not_found")


def test_the_user_and_what_is_left_of_the_quota() -> None:
    user, subscription = ask("/v1/user", "/v1/user/subscription")
    assert user.json()["subscription"] == subscription.json()
    assert subscription.json()["character_count"] == 0
    limited = {"api_keys": "a", "key_characters_per_minute": 600}
    known, unknown = ask("/v1/user", key="a", settings=limited)[0], ask("/v1/user", key="b", settings=limited)[0]
    assert known.json()["user_id"] == "key-1"
    assert known.json()["subscription"]["character_limit"] == 600
    assert unknown.status_code == 401


def test_models_of_speech() -> None:
    models = ask("/v1/audio/models")[0].json()["models"]
    assert models[0] == {"id": "flite", "name": "flite"}
    assert "tts-1" in [model["id"] for model in models]
