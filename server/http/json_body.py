"""What a client sent as JSON, in every dialect: `null` says that a field is not given, and is taken for that."""

from __future__ import annotations

import json
from typing import Any


def read_json(raw: bytes | str) -> Any:
    """Without the fields that are null. Raises ValueError with what is wrong with it as JSON."""
    try:
        return _given(json.loads(raw, parse_constant=_no_number))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one is not None}
    return [_given(one) for one in value] if isinstance(value, list) else value


def _no_number(name: str) -> None:
    """Python's reader knows more numbers than JSON does."""
    raise ValueError(f"{name} is not a JSON number")
