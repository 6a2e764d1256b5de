"""`/v1/pronunciation-dictionaries` in ElevenLabs' words: what is stored, new ones from a lexicon or rules, their end.

The entries stay on the server; clients that may speak see the names and may add. Nothing stored is ever changed from
here: what is added gets a name of its own, and its owner may remove it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.http.dependencies import WITH_KEY, CurrentState, Requester, body_as
from server.http.multipart import form_fields
from server.http.openapi import error_responses, request_body
from server.protocols.elevenlabs.messages import parsed, parsed_json
from server.schemas import Name
from server.speech.pronunciations import Listed

_XML = ("application/pls+xml", "application/xml", "text/xml")
_Title = Annotated[Name, Field(min_length=1, max_length=200)]


class RulesBody(BaseModel):
    """`description` and `workspace_access` are taken and not kept."""

    model_config = ConfigDict(extra="ignore")

    name: _Title
    rules: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)


class ArchiveBody(BaseModel):
    """`name` is taken and not kept."""

    model_config = ConfigDict(extra="ignore")

    archived: bool = False


class FileForm(BaseModel):
    """As `multipart/form-data`; or the lexicon alone as XML, and `name` in the query."""

    model_config = ConfigDict(extra="ignore")

    name: _Title
    file: bytes = Field(min_length=1)


router = APIRouter(prefix="/v1/pronunciation-dictionaries", dependencies=WITH_KEY, responses=error_responses())


@router.get("")
async def dictionaries(state: CurrentState) -> JSONResponse:
    """`problems` is an extension: by name, why a file as it is now was refused; its last good version still speaks."""
    listed, problems = await state.dictionaries.listed()
    found = {"pronunciation_dictionaries": [_described(one) for one in listed], "has_more": False, "next_cursor": None}
    return JSONResponse(found | {"problems": problems})


@router.post("/add-from-rules", openapi_extra=request_body(RulesBody))
async def add_from_rules(
    state: CurrentState,
    owner: Requester,
    body: Annotated[RulesBody, Depends(body_as(partial(parsed_json, RulesBody)))],
) -> JSONResponse:
    return JSONResponse(_added(await state.dictionaries.add_rules(body.name, body.rules, owner), body.name))


async def _lexicon(request: Request) -> FileForm:
    """Raises ApiError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in _XML:
        return parsed(FileForm, "query", {**request.query_params, "file": await request.body()})
    return parsed(FileForm, "body", await form_fields(request))


@router.post("/add-from-file", openapi_extra=request_body(FileForm, media_type="multipart/form-data"))
async def add_from_file(
    state: CurrentState, owner: Requester, form: Annotated[FileForm, Depends(_lexicon)]
) -> JSONResponse:
    """A lexicon in W3C's format (.pls)."""
    return JSONResponse(_added(await state.dictionaries.add_lexicon(form.name, form.file, owner), form.name))


@router.get("/{id}")
async def one_dictionary(id: str, state: CurrentState) -> JSONResponse:
    return JSONResponse(_described(await state.dictionaries.found(id)))


@router.delete("/{id}")
async def remove(id: str, state: CurrentState, owner: Requester) -> JSONResponse:
    """By the key, or without keys the address, that added it."""
    await state.dictionaries.remove(id, owner)
    return JSONResponse({"status": "ok"})


@router.patch("/{id}", openapi_extra=request_body(ArchiveBody))
async def archive(
    id: str,
    state: CurrentState,
    owner: Requester,
    body: Annotated[ArchiveBody, Depends(body_as(partial(parsed_json, ArchiveBody)))],
) -> JSONResponse:
    """As ElevenLabs' clients remove one: `{"archived": true}`. It cannot be undone."""
    if not body.archived:
        return JSONResponse(_described(await state.dictionaries.found(id)))
    was = await state.dictionaries.remove(id, owner)
    return JSONResponse(_described(was) | {"archived_time_unix": round(time.time())})


def _described(one: Listed) -> dict[str, Any]:
    return {
        "id": one.name,
        "latest_version_id": one.version,
        "latest_version_rules_num": one.num_entries,
        "name": one.name,
        "permission_on_resource": "viewer",
        "created_by": "caller" if one.is_added else "operator",
        "creation_time_unix": round(one.changed_s),
        "archived_time_unix": None,
        "description": None,
    }


def _added(one: Listed, name: str) -> dict[str, Any]:
    return {
        "id": one.name,
        "name": name,
        "created_by": "caller",
        "creation_time_unix": round(one.changed_s),
        "version_id": one.version,
        "version_rules_num": one.num_entries,
        "description": None,
        "permission_on_resource": "viewer",
    }
