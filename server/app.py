"""The application: routes, error bodies, and the engine's life within the server's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engines.bundle import load_bundle
from engines.messages import Failed
from server import eleven_http, eleven_ws, http_catalogue, http_speech, ops, ws_speech
from server.engine_client import EngineClient
from server.errors import ApiError
from server.logs import get_logger
from server.metrics import Metrics
from server.settings import Settings
from server.state import State
from server.utterance import Spoken, Utterance

log = get_logger()
_WARM_UP = "Ready to speak."


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="parlando", version="0.1.0", lifespan=_lifespan)
    metrics = Metrics()
    app.state.parlando = State(
        settings=settings,
        bundle=load_bundle(settings.bundle),
        engine=EngineClient(settings, metrics.take_engine),
        metrics=metrics,
    )
    for part in (http_speech, ws_speech, eleven_http, eleven_ws, http_catalogue, ops):
        app.include_router(part.router)
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.parlando
    warming = asyncio.create_task(_warm_up(state))
    try:
        yield
    finally:
        warming.cancel()
        await state.engine.close()


async def _warm_up(state: State) -> None:
    """The first utterance pays for lazy pages and kernels, so that no listener does."""
    await state.engine.start()
    utterance = Utterance(
        state.engine,
        Metrics(),  # its timings are nobody's
        protocol="warm-up",
        voice=state.voice(None),
        seed=0,
        speed=1.0,
        rate_hz=24_000,
        temperature=None,
    )
    utterance.append(_WARM_UP, 0.0)
    utterance.end()
    while isinstance(event := await utterance.next(), Spoken) or not hasattr(event, "timings"):
        if isinstance(event, Failed):
            log.error("warm_up_failed", code=event.code, message=event.message)
            return
    state.warm = True
    log.info("ready", bundle=state.bundle.name, voices=[voice.id for voice in state.bundle.voices])


async def _api_error(request: Request, error: ApiError) -> JSONResponse:
    return error.response()


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    described = ApiError(code, f"{request.method} {request.url.path}: {error.detail}")
    return JSONResponse(described.body(), status_code=error.status_code, headers=error.headers)
