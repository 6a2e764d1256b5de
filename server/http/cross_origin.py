"""Requests from other sites' pages: CORS for those in `ALLOWED_ORIGINS`, and a refusal that says what to set."""

from __future__ import annotations

from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from server.access import not_allowed
from server.settings import Settings

_EXPOSED = ["Retry-After", "x-request-id", "x-utterance-id", "x-seed", "x-sample-rate", "x-speed"]


class CrossOrigin(CORSMiddleware):
    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        origins = sorted(settings.origins)
        super().__init__(app, origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED)
        self._origins = settings.origins

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        error = not_allowed(request_headers["origin"], self._origins)
        return JSONResponse(error.body(), status_code=error.kind.status, headers={"Vary": "Origin"})
