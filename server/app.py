"""The application: routes, error bodies, and the engine's life within the server's."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from engines.assemble import open_bundle
from engines.runtime.installed import check_one_runtime
from engines.runtime.kernels import choose
from server.access import Access
from server.engine.launch import Launched
from server.engine.link import Worker
from server.engine.pool import EnginePool
from server.errors import ApiError, internal_error
from server.http import ops, page
from server.http.connection_limit import ConnectionLimit
from server.http.connections import Connections
from server.http.cross_origin import CrossOrigin
from server.http.denial import deny, methods_at, no_such_path
from server.http.guard import HttpGuard
from server.http.held_bytes import Memory
from server.http.hosts import Hosts
from server.http.openapi import name_keys
from server.logs import get_logger
from server.metrics import Metrics
from server.routing import cloning
from server.routing.registry import DIALECTS, ROUTERS
from server.settings import Settings
from server.speech.cloned_voices import ClonedVoices
from server.speech.pronunciations import Dictionaries
from server.state import State, state_of

log = get_logger()
VERSION = "0.1.0"
_ROUTERS = (*ROUTERS, page.router, ops.router)


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        name_keys(document, wanted=self.state.parlando.access.wants_keys)
        return document


def create_app(
    settings: Settings,
    *,
    worker: Worker | Sequence[Worker] | None = None,
    clock: Callable[[], float] = time.monotonic,
    launched: Sequence[Launched] = (),
) -> FastAPI:
    """`worker` and `clock` stand in for the engines' side of their pipes and for time; `launched` are the engines'
    processes, where they have been started already."""
    check_one_runtime()
    app = _App(title="parlando", version=VERSION, lifespan=_lifespan, docs_url=None, redoc_url=None)
    metrics, bundle = Metrics(), open_bundle(settings.bundle)
    bundle.check_draft_tolerance(settings.draft_tolerance)
    choose(settings.own_kernels)  # a form that does not run here is an error now, not in the engine
    if settings.draft_tolerance:
        log.warning("draft_tolerance", levels=settings.draft_tolerance, means="a seed no longer fixes the audio")
    metrics.draft_tolerance.set(settings.draft_tolerance)

    metrics.engine_info.labels(bundle.name, VERSION, bundle.digest).set(1)
    engine = EnginePool(
        settings,
        voice=bundle.voices[0].id,
        bundle_digest=bundle.digest,
        on_stats=metrics.take_engine,
        workers=worker if isinstance(worker, Sequence) else () if worker is None else (worker,),
        launched=launched,
    )
    state = app.state.parlando = State(
        settings=settings,
        bundle=bundle,
        engine=engine,
        metrics=metrics,
        access=Access(settings, clock),
        dictionaries=Dictionaries(
            settings.pronunciations,
            of_key=settings.key_dictionaries,
            of_address=settings.anonymous_dictionaries,
            max_expanded=settings.max_characters,
        ),
        cloned=ClonedVoices(settings, bundle, engine.send),
        connection_limit=ConnectionLimit(settings.max_connections),
        held=Memory(settings.max_held_bytes),
        clock=clock,
    )
    state.check_voice_names()
    metrics.watch(draining=lambda: state.shutdown.leaving, engine_pids=engine.pids)
    for router in _ROUTERS:
        app.include_router(router)
    app.router.default = _no_such_path
    larger = {cloning.PATH: settings.max_recording_bytes}
    app.add_middleware(HttpGuard, settings=settings, clock=clock, refusal=_guarded, larger=larger)
    app.add_middleware(Connections, refusal=_guarded)
    app.add_middleware(CrossOrigin, settings=settings)
    app.add_middleware(Hosts, settings=settings, refusal=_guarded)
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _fault)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.parlando
    state.engine.start()
    await state.dictionaries.listed()  # read before the first request, and what is wrong with them is logged
    watching = asyncio.create_task(state.cloned.watch())
    try:
        yield
    finally:
        state.kept.close()
        watching.cancel()
        await state.engine.close()


def _guarded(scope: Scope, error: ApiError) -> ASGIApp:
    """A refusal that no route has seen, in the words of the route's dialect."""
    return partial(deny, _refused(HTTPConnection(scope), error))


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    await _guarded(scope, no_such_path(scope, _routes()))(scope, receive, send)


def _routes() -> list[BaseRoute]:
    return [route for router in _ROUTERS for route in router.routes]


async def _api_error(request: Request, error: ApiError) -> JSONResponse:
    return _refused(request, error)


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    """No route, or not with this method."""
    place = f"{request.method} {request.url.path}"
    if error.status_code == 405:
        allowed = methods_at(request.url.path, _routes())
        answer = _refused(request, ApiError("method_not_allowed", f"{place}: this path takes {allowed}"))
        answer.headers["Allow"] = allowed
        return answer
    code = {404: "not_found"}.get(error.status_code, "invalid_request")
    answer = _refused(request, ApiError(code, f"{place}: {error.detail}"))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer


async def _fault(request: Request, error: Exception) -> JSONResponse:
    """A fault of the server. uvicorn logs the traceback."""
    return _refused(request, internal_error(error))


def _refused(connection: HTTPConnection, error: ApiError) -> JSONResponse:
    state_of(connection).refused(error)
    request_id = f"req-{uuid.uuid4().hex}"
    for dialect in DIALECTS:
        if dialect.answers(connection):
            return dialect.error_response(error, request_id)
    return error.response(request_id)
