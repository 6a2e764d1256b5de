"""Every protocol speaks what `parlando.v1` speaks, whole and word by word, with the bundles of both families."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.edge.test_doors import CARTESIA, SPEECHES, Speech, native
from tests.families.served import ELEVEN, OWN, TEXT, FamilyServer


@pytest.fixture(scope="package")
def wanted(server: Any) -> bytes:
    pcm = native(server, TEXT).pcm
    assert len(pcm) > 48_000
    return pcm


@pytest.mark.parametrize("speech", [*SPEECHES, *OWN])
def test_words_and_the_whole_text_are_the_same_audio(server: Any, wanted: bytes, speech: Speech) -> None:
    words = [word + " " for word in TEXT.split(" ")]
    words[-1] = words[-1].rstrip()
    assert speech(server, [TEXT]) == wanted, "whole"
    assert speech(server, words) == wanted, "word by word"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/audio/speech", {"input": TEXT, "voice": "rms", "response_format": "pcm"}),
        (f"{ELEVEN}?output_format=pcm_24000", {"text": TEXT}),
        ("/tts/bytes", {**CARTESIA, "transcript": TEXT}),
        ("/v1/speak?encoding=linear16&container=none", {"text": TEXT}),
    ],
)
def test_http_is_the_same_audio(server: FamilyServer, wanted: bytes, path: str, body: dict[str, object]) -> None:
    answer = httpx.post(server.url + path, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.content == wanted
