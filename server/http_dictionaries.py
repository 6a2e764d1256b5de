"""`GET /v1/pronunciation-dictionaries`: the stored dictionaries, in ElevenLabs' words.

The entries stay on the server; names are told to whoever may speak.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from server.eleven_body import check_key, error_response
from server.errors import ApiError
from server.pronunciations import Listed
from server.state import state_of

router = APIRouter()


@router.get("/v1/pronunciation-dictionaries")
async def dictionaries(request: Request) -> JSONResponse:
    """`problems` is ours: by name, why the file as it is now was refused; its last good version still speaks."""
    state = state_of(request)
    try:
        check_key(state, request)
    except ApiError as error:
        state.refused(error)
        return error_response(error, "")
    listed, problems = await state.dictionaries.listed()
    told = {"pronunciation_dictionaries": [_described(one) for one in listed], "has_more": False, "next_cursor": None}
    return JSONResponse(told | {"problems": problems})


def _described(one: Listed) -> dict[str, Any]:
    return {
        "id": one.name,
        "latest_version_id": one.version,
        "latest_version_rules_num": one.num_entries,
        "name": one.name,
        "permission_on_resource": "viewer",
        "created_by": "operator",
        "creation_time_unix": round(one.changed_s),
        "archived_time_unix": None,
        "description": None,
    }
