"""What routes ask for by `Depends`: the state, checks of the caller, and the body as a model.

Dependencies run in the order in which a route lists them, so nothing of a body is parsed before its key is checked.
All are coroutines: FastAPI runs plain functions on threads, where the caller that a check has found would be lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from server.speech.owners import Owner
from server.state import State, state_of

_Model = TypeVar("_Model")


async def _state(request: Request) -> State:
    return state_of(request)


CurrentState = Annotated[State, Depends(_state)]


async def check_key(state: CurrentState, request: Request) -> None:
    """The page's origin and the API key. Raises ApiError."""
    state.check_key(request)


async def check_accepting(state: CurrentState) -> None:
    """Neither starting nor draining. Raises ApiError."""
    state.check_accepting()


async def _received_s(request: Request) -> float:
    received_s: float = request.state.received_s
    return received_s


async def _owner(request: Request) -> Owner:
    return Owner.of(request)


Requester = Annotated[Owner, Depends(_owner)]  # after the key's check, which finds the caller
ReceivedS = Annotated[float, Depends(_received_s)]  # when the request's first bytes came: the TTFA clock starts
WITH_KEY = [Depends(check_key)]
MAY_SPEAK = [Depends(check_key), Depends(check_accepting)]


def body_as(parse: Callable[[bytes], _Model]) -> Callable[[Request], Awaitable[_Model]]:
    """For `Depends`. `parse` raises ApiError in its protocol's words."""

    async def parsed(request: Request) -> _Model:
        return parse(await request.body())

    return parsed
