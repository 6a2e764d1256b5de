"""/openapi.json against what the routes do: who has to send a key, and with which statuses they refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.edge.toy import serving

KEYS = {"bearer": {"Authorization": "Bearer secret"}, "xi-api-key": {"xi-api-key": "secret"}}
KEYS["x-api-key"] = {"x-api-key": "secret"}
_PLACES = {"voice_id": "rms", "name": "nemo", "id": "nemo"}


def _asked(keys: str) -> tuple[dict[str, Any], dict[tuple[str, str], dict[str | None, int]]]:
    """The document, and the status of each operation without a key and with one sent in each way."""

    async def run() -> tuple[dict[str, Any], dict[tuple[str, str], dict[str | None, int]]]:
        async with serving(api_keys=keys) as app:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                document = (await client.get("/openapi.json")).json()
                found = {}
                for path, operations in document["paths"].items():
                    for method in operations:
                        statuses = {}
                        for way, headers in ((None, dict[str, str]()), *KEYS.items()):
                            answer = await client.request(method, path.format(**_PLACES), headers=headers)
                            statuses[way] = answer.status_code
                        found[method, path] = statuses
                return document, found

    return asyncio.run(run())


@pytest.mark.parametrize("keys", ["secret", ""])
def test_keys_are_told_where_they_are_asked_for(keys: str) -> None:
    document, found = _asked(keys)
    assert document["components"]["securitySchemes"].keys() == KEYS.keys()
    for (method, path), statuses in found.items():
        operation = document["paths"][path][method]
        told = [name for way in operation.get("security", ()) for name in way or (None,)]
        refused = [way for way, status in statuses.items() if status == 401]
        if told:
            assert told == ([*KEYS] if keys else [None, *KEYS]), (method, path)
        assert refused == ([None] if keys and told else []), (method, path, statuses)


def test_each_status_is_told() -> None:
    document, found = _asked("secret")
    for (method, path), statuses in found.items():
        told = document["paths"][path][method]["responses"]
        assert {str(status) for status in statuses.values()} <= told.keys(), (method, path, statuses)
    spoken = document["paths"]["/v1/audio/speech"]["get"]["responses"]
    assert {"200", "206", "409", "416", "503"} <= spoken.keys()
