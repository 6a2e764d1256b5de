"""Health, readiness, capacity and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from server.errors import ApiError
from server.http.openapi import also
from server.state import state_of

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    """The process answers; says nothing about the engine."""
    return {"status": "ok"}


@router.get("/ready", responses=also("not_ready"))
async def ready(request: Request) -> JSONResponse:
    """200 only when a first utterance has come out of the engine and no drain has begun."""
    state = state_of(request)
    restarted = " again" if state.engine.restarts else ""
    status = "ready" if state.ready else "draining" if state.shutdown.leaving else f"starting{restarted}"
    return JSONResponse({"status": status}, status_code=200 if state.ready else 503)


@router.get("/v1/capacity", responses=also("not_ready"))
async def capacity(request: Request) -> JSONResponse:
    """What one more stream can expect now: how many may still come in, and their predicted time to first audio."""
    state = state_of(request)
    state.check_accepting()
    stats = state.engine.stats
    if stats is None:
        raise ApiError("not_ready", "the engine has not told its capacity yet; try again", retry_after_s=1)
    running = state.engine.active  # newer than the engine's own count
    return JSONResponse(
        {
            "streams_left": max(0, min(stats.streams_left, stats.capacity - running)),
            "streams_running": running,
            "streams_capacity": stats.capacity,
            "predicted_ttfa_ms": round(1000 * stats.predicted_ttfa_s, 1),
        }
    )


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Not here when it has a port of its own."""
    if state_of(request).settings.metrics_port is not None:
        raise ApiError("not_found", "metrics are served on a port of their own")
    return Response(await state_of(request).metrics.scraped(), media_type=CONTENT_TYPE_LATEST)
