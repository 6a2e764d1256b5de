"""`/v1/pronunciation-dictionaries` in ElevenLabs' words: what is stored, new ones from a lexicon or rules, their end.

The entries stay on the server; names are told to whoever may speak, who may also add. Nothing stored is ever changed
from here: what is added gets a name of its own, and its owner may remove it. What is raised here the application
answers, in ElevenLabs' words.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.http.multipart import form_fields
from server.http.openapi import error_responses, request_body
from server.protocols.elevenlabs.messages import check_key, parsed, parsed_json
from server.schemas import Name
from server.speech.dictionary_owners import Owner
from server.speech.pronunciations import Listed
from server.state import state_of

router = APIRouter()
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


@router.get("/v1/pronunciation-dictionaries", responses=error_responses())
async def dictionaries(request: Request) -> JSONResponse:
    """`problems` is ours: by name, why the file as it is now was refused; its last good version still speaks."""
    state = state_of(request)
    check_key(state, request)
    listed, problems = await state.dictionaries.listed()
    told = {"pronunciation_dictionaries": [_described(one) for one in listed], "has_more": False, "next_cursor": None}
    return JSONResponse(told | {"problems": problems})


@router.post(
    "/v1/pronunciation-dictionaries/add-from-rules", responses=error_responses(), openapi_extra=request_body(RulesBody)
)
async def add_from_rules(request: Request) -> JSONResponse:
    state = state_of(request)
    check_key(state, request)
    body = parsed_json(RulesBody, await request.body())
    return JSONResponse(_added(await state.dictionaries.add_rules(body.name, body.rules, Owner.of(request)), body.name))


@router.post(
    "/v1/pronunciation-dictionaries/add-from-file",
    responses=error_responses(),
    openapi_extra=request_body(FileForm, media_type="multipart/form-data"),
)
async def add_from_file(request: Request) -> JSONResponse:
    """A lexicon in W3C's format (.pls)."""
    state = state_of(request)
    check_key(state, request)
    form = _form(request, await request.body())
    return JSONResponse(
        _added(await state.dictionaries.add_lexicon(form.name, form.file, Owner.of(request)), form.name)
    )


@router.get("/v1/pronunciation-dictionaries/{id}", responses=error_responses())
async def one_dictionary(id: str, request: Request) -> JSONResponse:
    state = state_of(request)
    check_key(state, request)
    return JSONResponse(_described(await state.dictionaries.found(id)))


@router.delete("/v1/pronunciation-dictionaries/{id}", responses=error_responses())
async def remove(id: str, request: Request) -> JSONResponse:
    """By the key, or without keys the address, that added it."""
    state = state_of(request)
    check_key(state, request)
    await state.dictionaries.remove(id, Owner.of(request))
    return JSONResponse({"status": "ok"})


@router.patch(
    "/v1/pronunciation-dictionaries/{id}", responses=error_responses(), openapi_extra=request_body(ArchiveBody)
)
async def archive(id: str, request: Request) -> JSONResponse:
    """As ElevenLabs' clients remove one: `{"archived": true}`. It cannot be taken back."""
    state = state_of(request)
    check_key(state, request)
    body = parsed_json(ArchiveBody, await request.body())
    if not body.archived:
        return JSONResponse(_described(await state.dictionaries.found(id)))
    was = await state.dictionaries.remove(id, Owner.of(request))
    return JSONResponse(_described(was) | {"archived_time_unix": round(time.time())})


def _form(request: Request, body: bytes) -> FileForm:
    """Raises Invalid, or ApiError."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() in _XML:
        return parsed(FileForm, "query", {**request.query_params, "file": body})
    fields: dict[str, Any] = dict(form_fields(content_type, body))
    if "name" in fields:
        fields["name"] = fields["name"].decode(errors="replace")
    return parsed(FileForm, "body", fields)


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
