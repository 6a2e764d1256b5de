"""parlando behind Ray Serve, in its HAProxy mode: the same application, one edge with its engines a replica.

`RAY_SERVE_ENABLE_HA_PROXY=1 serve run app:app` in this folder, in an environment with parlando and requirements.txt.
docs/operations.md says what each number below follows from. Settings are PARLANDO_* variables, as everywhere.
"""

from __future__ import annotations

import asyncio
import os
from functools import partialmethod
from typing import Any

import uvicorn
from fastapi import FastAPI
from ray import serve
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.app import create_app
from server.settings import Settings
from server.state import State

READY_S = 60.0
_STREAMS_A_REPLICA = 400  # more than a replica sustains: the server itself rejects above that, with a reason
_LEAVES_S = 600.0  # UTTERANCE_S and a margin: then Ray kills what is left


def set_up_web_server(state: State) -> None:
    """Ray makes uvicorn's server in this process and gives no way to set it up.

    Audio does not compress. And Ray ends its draining window with uvicorn's `should_exit`, at which uvicorn closes
    every WebSocket in the middle of its words: here the server drains, as after a SIGTERM.
    """
    uvicorn.Config.__init__ = partialmethod(  # type: ignore[method-assign]
        uvicorn.Config.__init__, ws="websockets-sansio", ws_per_message_deflate=False, ws_ping_interval=5.0
    )

    drains = set[asyncio.Task[bool]]()

    def drain(protocol: WebSocketsSansIOProtocol) -> None:
        if not drains:
            drains.add(asyncio.ensure_future(state.drain()))

    WebSocketsSansIOProtocol.shutdown = drain  # type: ignore[method-assign]


@serve.deployment(
    max_ongoing_requests=_STREAMS_A_REPLICA,
    graceful_shutdown_timeout_s=_LEAVES_S,
    health_check_period_s=2,
    ray_actor_options={"num_cpus": 2},
)
@serve.ingress()
class Parlando:
    def __init__(self, **flags: Any) -> None:
        """`flags` win over PARLANDO_* variables."""
        os.environ.setdefault("PARLANDO_ALLOWED_HOSTS", "*")  # proxy and checks ask by address
        self.settings = Settings.with_flags(flags)

    async def __serve_build_asgi_app__(self) -> FastAPI:
        app = create_app(self.settings)
        self.state: State = app.state.parlando
        set_up_web_server(self.state)
        return app

    async def check_health(self) -> None:
        """A new replica gets streams once its engine has spoken; one whose engine is being restarted keeps its own."""
        async with asyncio.timeout(READY_S):
            await self.state.engine.wait_ready()


app = Parlando.bind()
