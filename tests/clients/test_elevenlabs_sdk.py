"""ElevenLabs' Python SDK, over HTTP and, since it insists on TLS there, its WebSocket with a certificate of our own."""

from __future__ import annotations

import asyncio
import base64

import pytest
from elevenlabs import PronunciationDictionaryVersionLocator, VoiceSettings
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.pronunciation_dictionaries.types import (
    BodyAddAPronunciationDictionaryV1PronunciationDictionariesAddFromRulesPostRulesItem_Alias as AliasRule,
)

from tests.clients.conftest import RESPELT, SEED, TEXT, Server, native

LEXICON = """<?xml version="1.0" encoding="UTF-8"?>
<lexicon version="1.0" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon" alphabet="ipa" xml:lang="en-US">
  <lexeme><grapheme>client</grapheme><alias>customer</alias></lexeme>
</lexicon>"""


@pytest.fixture
def client(server: Server) -> ElevenLabs:
    return ElevenLabs(base_url=server.url, api_key="any")


def test_convert_and_stream(client: ElevenLabs, server: Server) -> None:
    whole = native(server)
    assert len(whole) > 48_000
    spoken = client.text_to_speech.convert("rms", text=TEXT, output_format="pcm_24000", seed=SEED)
    assert b"".join(spoken) == whole
    streamed = client.text_to_speech.stream("rms", text=TEXT, output_format="pcm_24000", seed=SEED)
    assert b"".join(streamed) == whole
    settings = VoiceSettings(speed=1.2, stability=0.4)
    quick = client.text_to_speech.stream("slt", text=TEXT, model_id="eleven_flash_v2_5", voice_settings=settings)
    mp3 = b"".join(quick)
    assert mp3.startswith(b"\xff")


def test_timestamps(client: ElevenLabs, server: Server) -> None:
    whole = client.text_to_speech.convert_with_timestamps("rms", text=TEXT, output_format="pcm_24000", seed=SEED)
    assert base64.b64decode(whole.audio_base_64) == native(server)
    assert whole.alignment is not None
    assert "".join(whole.alignment.characters) == TEXT
    lines = list(client.text_to_speech.stream_with_timestamps("rms", text=TEXT, output_format="pcm_24000", seed=SEED))
    assert b"".join(base64.b64decode(line.audio_base_64) for line in lines) == native(server)
    assert "".join("".join(line.alignment.characters) for line in lines if line.alignment) == TEXT


def test_async_client(server: Server) -> None:
    async def run() -> bytes:
        client = AsyncElevenLabs(base_url=server.url, api_key="any")
        spoken = client.text_to_speech.stream("rms", text=TEXT, output_format="pcm_24000", seed=SEED)
        return b"".join([part async for part in spoken])

    assert asyncio.run(run()) == native(server)


def test_catalogue_and_errors(client: ElevenLabs) -> None:
    assert [voice.voice_id for voice in client.voices.get_all().voices] == ["rms", "slt", "awb", "kal16"]
    assert "eleven_flash_v2_5" in [model.model_id for model in client.models.list()]
    with pytest.raises(ApiError) as unknown:
        b"".join(client.text_to_speech.convert("nobody", text=TEXT))
    assert unknown.value.status_code == 404
    with pytest.raises(ApiError) as form:
        b"".join(client.text_to_speech.convert("rms", text=TEXT, output_format="tape_1"))
    assert form.value.status_code == 422


def test_pronunciation_dictionaries(client: ElevenLabs, server: Server) -> None:
    kept = client.pronunciation_dictionaries.list().pronunciation_dictionaries
    (listed,) = (one for one in kept if one.name == "names")
    assert listed.latest_version_rules_num == 1
    for version in (None, listed.latest_version_id):
        locator = PronunciationDictionaryVersionLocator(pronunciation_dictionary_id=listed.id, version_id=version)
        spoken = client.text_to_speech.stream(
            "rms", text=TEXT, output_format="pcm_24000", pronunciation_dictionary_locators=[locator]
        )
        assert b"".join(spoken) == native(server, RESPELT)
    unknown = PronunciationDictionaryVersionLocator(pronunciation_dictionary_id="nobody")
    with pytest.raises(ApiError) as refused:
        b"".join(client.text_to_speech.stream("rms", text=TEXT, pronunciation_dictionary_locators=[unknown]))
    assert refused.value.status_code == 404
    assert "there are: names" in str(refused.value.body)


def test_pronunciation_dictionaries_are_added_and_spoken(client: ElevenLabs, server: Server) -> None:
    added = client.pronunciation_dictionaries.create_from_file(name="uploaded", file=("names.pls", LEXICON))
    rule = AliasRule(string_to_replace="client", alias="customer")
    ruled = client.pronunciation_dictionaries.create_from_rules(name="uploaded rules", rules=[rule])
    for one in (added, ruled):
        locator = PronunciationDictionaryVersionLocator(pronunciation_dictionary_id=one.id, version_id=one.version_id)
        spoken = client.text_to_speech.stream(
            "rms", text=TEXT, output_format="pcm_24000", pronunciation_dictionary_locators=[locator]
        )
        assert b"".join(spoken) == native(server, RESPELT)


def test_convert_realtime_over_tls(tls_server: Server, server: Server) -> None:
    client = ElevenLabs(base_url=tls_server.url, api_key="any")
    words = (word + " " for word in TEXT.split())
    spoken = client.text_to_speech.convert_realtime(
        "rms", text=words, model_id="eleven_flash_v2_5", output_format="pcm_24000"
    )
    assert b"".join(spoken) == native(server)


def test_the_account_and_its_voices(client: ElevenLabs) -> None:
    page = client.voices.search(page_size=3)
    assert [voice.voice_id for voice in page.voices] == ["rms", "slt", "awb"]
    rest = client.voices.search(page_size=3, next_page_token=page.next_page_token)
    assert ([voice.voice_id for voice in rest.voices], rest.has_more) == (["kal16"], False)
    assert client.voices.settings.get("slt").speed == client.voices.settings.get_default().speed == 1.0
    limit = client.user.subscription.get().character_limit
    assert client.user.get().subscription.character_limit == limit > 4_096
