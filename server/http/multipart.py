"""The fields of a form sent as `multipart/form-data` (RFC 7578), from a body that is here whole and bounded.

Nested parts and transfer encodings, which no browser and no client sends, are not read.
"""

from __future__ import annotations

from email.message import Message

from server.errors import ApiError

_MAX_FIELDS = 16


def form_fields(content_type: str, body: bytes) -> dict[str, bytes]:
    """By name; of two fields of one name the first. Raises ApiError."""
    boundary = _header("content-type", content_type).get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise ApiError("invalid_request", "the form's Content-Type names no boundary")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), _MAX_FIELDS + 1)
    if not parts or not parts[-1].startswith(b"--"):
        raise ApiError("invalid_request", f"the form does not end, or has more than {_MAX_FIELDS} fields")
    fields: dict[str, bytes] = {}
    for part in parts[:-1]:
        head, parted, content = part.partition(b"\r\n\r\n")
        name = _name(head) if parted else None
        if name is None:
            raise ApiError("invalid_request", "a part of the form has no name")
        fields.setdefault(name, content)
    return fields


def _name(head: bytes) -> str | None:
    for line in head.decode(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            name = _header(key.strip(), value.strip()).get_param("name", header="content-disposition")
            return name if isinstance(name, str) else None
    return None


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message
