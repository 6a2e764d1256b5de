"""Pipecat's services, each in a pipeline of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
from pipecat.frames.frames import ErrorFrame, Frame, TTSAudioRawFrame, TTSSpeakFrame, TTSTextFrame
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.cartesia.tts import CartesiaHttpTTSService, CartesiaTTSService
from pipecat.services.deepgram.flux.tts import DeepgramFluxTTSService
from pipecat.services.deepgram.tts import DeepgramHttpTTSService, DeepgramTTSService
from pipecat.services.elevenlabs.tts import (
    ElevenLabsHttpTTSService,
    ElevenLabsTTSService,
    PronunciationDictionaryLocator,
)
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.tests.utils import run_test

from tests.clients.conftest import RESPELT, TEXT, Server, native


async def spoken(service: FrameProcessor) -> Sequence[Frame]:
    params = PipelineParams(audio_out_sample_rate=24_000)
    frames, errors = await run_test(
        service, frames_to_send=[TTSSpeakFrame(TEXT)], pipeline_params=params, start_timeout=20
    )
    assert not [error for error in (*frames, *errors) if isinstance(error, ErrorFrame)]
    return frames


def audio(frames: Sequence[Frame]) -> bytes:
    return b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))


def words(frames: Sequence[Frame]) -> list[str]:
    return " ".join(frame.text for frame in frames if isinstance(frame, TTSTextFrame)).split()


def test_openai(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        settings = OpenAITTSService.Settings(voice="ash")
        return await spoken(OpenAITTSService(api_key="any", base_url=f"{server.url}/v1", settings=settings))

    assert audio(asyncio.run(run())) == native(server)


def test_elevenlabs_websocket(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        settings = ElevenLabsTTSService.Settings(voice="rms")
        url = f"ws://localhost:{server.port}"
        return await spoken(ElevenLabsTTSService(api_key="any", url=url, settings=settings))

    frames = asyncio.run(run())
    assert audio(frames) == native(server)
    assert words(frames) == TEXT.split()


def test_elevenlabs_pronunciations_leave_the_words_as_they_are(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        names = PronunciationDictionaryLocator(pronunciation_dictionary_id="names", version_id="latest")
        settings = ElevenLabsTTSService.Settings(voice="rms")
        service = ElevenLabsTTSService(
            api_key="any",
            url=f"ws://localhost:{server.port}",
            settings=settings,
            pronunciation_dictionary_locators=[names],
        )
        return await spoken(service)

    frames = asyncio.run(run())
    assert audio(frames) == native(server, RESPELT)
    assert words(frames) == TEXT.split()


def test_elevenlabs_http(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        async with aiohttp.ClientSession() as session:
            settings = ElevenLabsHttpTTSService.Settings(voice="rms")
            service = ElevenLabsHttpTTSService(
                api_key="any", aiohttp_session=session, base_url=server.url, settings=settings
            )
            return await spoken(service)

    frames = asyncio.run(run())
    assert audio(frames) == native(server)
    assert words(frames) == TEXT.split()


def test_deepgram(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        return await spoken(DeepgramTTSService(api_key="any", base_url=f"ws://localhost:{server.port}"))

    assert audio(asyncio.run(run())) == native(server)


def test_deepgram_flux(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        return await spoken(DeepgramFluxTTSService(api_key="any", url=f"ws://localhost:{server.port}/v2/speak"))

    assert audio(asyncio.run(run())) == native(server)


def test_deepgram_http(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        async with aiohttp.ClientSession() as session:
            service = DeepgramHttpTTSService(api_key="any", aiohttp_session=session, base_url=server.url)
            return await spoken(service)

    assert audio(asyncio.run(run())) == native(server)


def test_cartesia(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        url = f"ws://localhost:{server.port}/tts/websocket"
        return await spoken(
            CartesiaTTSService(api_key="any", url=url, settings=CartesiaTTSService.Settings(voice="rms"))
        )

    frames = asyncio.run(run())
    assert audio(frames) == native(server)
    assert words(frames) == TEXT.split()


def test_cartesia_http(server: Server) -> None:
    async def run() -> Sequence[Frame]:
        async with aiohttp.ClientSession() as session:
            settings = CartesiaHttpTTSService.Settings(voice="rms")
            service = CartesiaHttpTTSService(
                api_key="any", base_url=server.url, aiohttp_session=session, settings=settings
            )
            return await spoken(service)

    assert audio(asyncio.run(run())) == native(server)
