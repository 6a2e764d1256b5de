"""The routers of all protocols. A new protocol adds its own here; nothing else outside its folder knows it."""

from __future__ import annotations

from server.protocols.elevenlabs import dictionaries as elevenlabs_dictionaries
from server.protocols.elevenlabs import route as elevenlabs_route
from server.protocols.elevenlabs import socket as elevenlabs_socket
from server.protocols.openai import route as openai_route
from server.routing import catalogue, speech_socket

ROUTERS = (
    openai_route.router,
    speech_socket.router,
    elevenlabs_route.router,
    elevenlabs_socket.router,
    catalogue.router,
    elevenlabs_dictionaries.router,
)
