"""The fields of a form sent as `multipart/form-data` (RFC 7578), from a body that is whole and bounded."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from server.errors import ApiError

_MAX_FIELDS = 16


async def form_fields(request: Request) -> dict[str, str | bytes]:
    """By name, files as bytes; of two fields of one name the first. Raises ApiError."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        message = f"send the form as multipart/form-data with a boundary, not {content_type[:100]!r}"
        raise ApiError("invalid_request", message)
    fields: dict[str, str | bytes] = {}
    size = len(await request.body())  # bounded by the guard, so no part can be larger
    try:
        form = request.form(max_files=_MAX_FIELDS, max_fields=_MAX_FIELDS, max_part_size=size)
        async with form as parts:
            for name, part in parts.multi_items():
                value = await part.read() if isinstance(part, UploadFile) else part
                fields.setdefault(name, value)
    except HTTPException as error:  # how starlette reports a form that it cannot parse
        raise ApiError("invalid_request", f"the form cannot be read: {error.detail}") from error
    return fields
