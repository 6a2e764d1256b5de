"""Requests drawn from the OpenAPI document, right and wrong ones: none is a fault of the server's.

What only the server knows (a voice, a model) is put in half of the time, so that many requests get as far as speech.
"""

from __future__ import annotations

from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from tests.clients.conftest import Server


def test_no_request_is_a_fault(server: Server) -> None:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    answers: dict[int, int] = {}
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            _make_likely(case)
            answer = case.call()
            answers[answer.status_code] = answers.get(answer.status_code, 0) + 1
            case.validate_response(answer, checks=[not_a_server_error])

        ask()
    assert answers.get(200, 0) > 50, answers
    assert "tts_streams_active 0.0" in requests.get(f"{server.url}/metrics", timeout=10).text


def _make_likely(case: Any) -> None:
    place = sum(map(ord, repr(case.body)))
    if "voice_id" in (case.path_parameters or {}) and place % 2:
        case.path_parameters["voice_id"] = "rms"
    if isinstance(case.body, dict) and place % 3:
        for name, known in (("model", "tts-1"), ("model_id", "eleven_flash_v2_5"), ("voice", "slt")):
            if name in case.body:
                case.body[name] = known
        for name in ("input", "text"):
            if isinstance(case.body.get(name), str):
                case.body[name] = "Yes. " + case.body[name][:100]
