"""The routers of all protocols. A new protocol adds its own here; nothing else outside its folder knows it."""

from __future__ import annotations

from typing import Protocol

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from server.errors import ApiError
from server.protocols.cartesia import errors as cartesia_errors
from server.protocols.cartesia import route as cartesia_route
from server.protocols.deepgram import errors as deepgram_errors
from server.protocols.deepgram import route as deepgram_route
from server.protocols.elevenlabs import account as elevenlabs_account
from server.protocols.elevenlabs import dictionaries as elevenlabs_dictionaries
from server.protocols.elevenlabs import errors as elevenlabs_errors
from server.protocols.elevenlabs import route as elevenlabs_route
from server.protocols.elevenlabs import socket as elevenlabs_socket
from server.protocols.openai import route as openai_route
from server.protocols.realtime import socket as realtime_socket
from server.protocols.vllm_omni import socket as vllm_omni_socket
from server.routing import catalogue, cloning, speech_socket


class Dialect(Protocol):
    def answers(self, connection: HTTPConnection) -> bool:
        """Whether an error of this request is told in this dialect."""
        ...

    def error_response(self, error: ApiError, request_id: str) -> JSONResponse: ...


# Those that word errors in their own way, the first that answers; all others get OpenAI's error object.
DIALECTS: tuple[Dialect, ...] = (deepgram_errors, cartesia_errors, elevenlabs_errors)
ROUTERS = (
    openai_route.router,
    speech_socket.router,
    elevenlabs_route.router,
    elevenlabs_socket.router,
    catalogue.router,
    cloning.router,
    elevenlabs_dictionaries.router,
    elevenlabs_account.router,
    deepgram_route.router,
    cartesia_route.router,
    realtime_socket.router,
    vllm_omni_socket.router,
)
