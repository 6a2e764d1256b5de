"""ElevenLabs' `GET /v1/user` and `/v1/user/subscription`: the caller's key and quota."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from server.access import current_caller
from server.http.dependencies import WITH_KEY, CurrentState
from server.http.openapi import error_responses
from server.state import State

router = APIRouter(dependencies=WITH_KEY, responses=error_responses())
_NO_LIMIT = 2**31 - 1


@router.get("/v1/user")
async def user(state: CurrentState) -> dict[str, Any]:
    caller = current_caller()
    name = "anonymous" if caller is None else caller.name
    return {
        "user_id": name,
        "workspace_id": "parlando",
        "first_name": name,
        "subscription": _subscription(state),
        "is_new_user": False,
        "is_onboarding_completed": True,
        "is_onboarding_checklist_completed": True,
        "can_use_delayed_payment_methods": False,
        "created_at": 0,
    }


@router.get("/v1/user/subscription")
async def subscription(state: CurrentState) -> dict[str, Any]:
    return _subscription(state)


def _subscription(state: State) -> dict[str, Any]:
    """A quota counts a minute's characters; without one nothing is counted."""
    caller = current_caller()
    limit = caller.quota.characters_per_minute if caller is not None else None
    return {
        "tier": "self_hosted",
        "status": "active",
        "character_count": caller.characters_spent if caller is not None and limit is not None else 0,
        "character_limit": _NO_LIMIT if limit is None else limit,
        "max_credit_limit_extension": 0,
        "can_extend_character_limit": False,
        "allowed_to_extend_character_limit": False,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 0,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": 0,
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": False,
        "can_use_professional_voice_cloning": False,
        "current_overage": {"amount": "0", "currency": "usd"},
        "open_invoices": [],
        "has_open_invoices": False,
    }
