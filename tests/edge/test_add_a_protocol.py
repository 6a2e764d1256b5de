"""The example of docs/add-a-protocol.md is a protocol."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx

from server.audio import wav_header
from tests.edge.toy import serving, word_pcm

PAGE = Path(__file__).resolve().parents[2] / "docs/add-a-protocol.md"


def test_the_example_of_the_page_speaks_and_rejects() -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, PAGE, "exec", dont_inherit=True), example)

    async def scenario() -> None:
        async with serving(api_keys="right") as app:
            app.include_router(example["router"])
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

                async def ask(key: str, **body: object) -> httpx.Response:
                    return await client.post("/v1/example", json=body, headers={"Authorization": f"Bearer {key}"})

                spoken = await ask("right", text="one two")
                assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/wav")
                assert spoken.content == wav_header(24_000) + word_pcm("one") + word_pcm("two")
                rejected = [await ask("wrong", text="one"), await ask("right", txt="one")]
                codes = [(one.status_code, one.json()["error"]["code"]) for one in rejected]
                assert codes == [(401, "invalid_api_key"), (400, "invalid_parameter")]

    asyncio.run(scenario())
