"""The fields of a form sent as `multipart/form-data` (RFC 7578), from a body that is whole and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from server.errors import ApiError

_MAX_FIELDS = 16
_PIECE_BYTES = 65_536


async def form_fields(request: Request) -> dict[str, str | bytes]:
    """By name, files as bytes; of two fields of one name the first. Raises ApiError."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        message = f"send the form as multipart/form-data with a boundary, not {content_type[:100]!r}"
        raise ApiError("invalid_request", message)
    fields: dict[str, str | bytes] = {}
    body = await request.body()  # bounded by the guard, so no part can be larger
    limits = {"max_files": _MAX_FIELDS, "max_fields": _MAX_FIELDS, "max_part_size": len(body)}
    try:
        parts = await MultiPartParser(request.headers, _in_pieces(body), **limits).parse()
        for name, part in parts.multi_items():
            value = await part.read() if isinstance(part, UploadFile) else part
            fields.setdefault(name, value)
        await parts.close()
    except MultiPartException as error:
        raise ApiError("invalid_request", f"the form cannot be read: {error.message}") from error
    return fields


async def _in_pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    """So that a recording of megabytes holds up no stream."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]
        await asyncio.sleep(0)
