"""What /openapi.json says of routes that read their own body, so that each dialect can word its own errors.

Everything is derived from the models that check the requests.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from server.errors import KINDS

_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "xi-api-key": {"type": "apiKey", "in": "header", "name": "xi-api-key"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_REFUSED = {"application/json": {"schema": {"type": "object"}}}
_REFUSALS = {
    400: "a field is wrong",
    401: "the API key is missing or wrong",
    403: "the page's origin may not connect",
    404: "there is no such voice, model or path",
    408: "the body did not arrive",
    413: "too much text, or too big a body",
    421: "the server does not answer under this name",
    422: "the form is wrong (ElevenLabs' dialect)",
    429: "the key's quota is used up; see Retry-After",
    500: "internal server error",
    503: "full, starting or stopping; see Retry-After",
}


def request_body(
    body: type[BaseModel], query: type[BaseModel] | None = None, media_type: str = "application/json"
) -> dict[str, Any]:
    """For a route's `openapi_extra`."""
    content = {media_type: {"schema": _inlined(body.model_json_schema())}}
    described: dict[str, Any] = {"requestBody": {"required": True, "content": content}}
    return described if query is None else {**described, **query_parameters(query)}


def query_parameters(query: type[BaseModel]) -> dict[str, Any]:
    """The same for a route that takes parameters only."""
    schema = _inlined(query.model_json_schema())
    required = schema.get("required", ())
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": field}
            for name, field in schema["properties"].items()
        ]
    }


def speech_responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """For the `responses` of a route that speaks."""
    return error_responses() | {
        200: {"description": "speech, as it is made", "content": {name: {} for name in media_types}}
    }


def error_responses() -> dict[int | str, dict[str, Any]]:
    """For the `responses` of any route: how it refuses."""
    return {status: {"description": says, "content": _REFUSED} for status, says in _REFUSALS.items()}


def also(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Errors of our table that are one route's own, for its `responses`."""
    return {KINDS[code].status: {"description": KINDS[code].means, "content": _REFUSED} for code in codes}


def name_keys(document: dict[str, Any], *, wanted: bool) -> None:
    """Says of each operation that can refuse a key how one is sent; `wanted`: it cannot be left out."""
    document.setdefault("components", {})["securitySchemes"] = _KEYS
    ways: list[dict[str, list[str]]] = [{name: []} for name in _KEYS]
    for path in document["paths"].values():
        for operation in path.values():
            if "401" in operation["responses"]:
                operation["security"] = ways if wanted else [{}, *ways]


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Without references: a schema's own definitions are out of place inside a larger document."""
    definitions = schema.get("$defs", {})

    def put(node: Any) -> Any:
        if isinstance(node, list):
            return [put(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return put(definitions[node["$ref"].rsplit("/", 1)[1]])
        return {name: put(value) for name, value in node.items() if name != "$defs"}

    inlined: dict[str, Any] = put(schema)
    return inlined
