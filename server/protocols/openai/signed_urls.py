"""URLs that speak without a header: for `<audio src>`, which can send no key.

A signature is an HMAC-SHA256, keyed by the SHA-256 of an API key, over all other parameters in order. It binds what is
spoken and until when, needs no state, and ends with the key. Without one a page may only play from its own host.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

from fastapi import Request

from server.access import Access
from server.errors import ApiError

PATH = "/v1/audio/speech"
MAX_VALID_S = 3_600
_SIGNATURE, _EXPIRES = "signature", "expires"
_OWN_SITE = (None, "same-origin", "none")  # no browser of today, our page, or typed in


def signed_url(access: Access, fields: dict[str, str], valid_s: int, now: Callable[[], float] = time.time) -> str:
    """For the caller whose key has been checked; where no keys are configured nothing needs to be signed."""
    secret = access.current_secret
    if secret is None:
        return f"{PATH}?{urlencode(fields)}"
    pairs = sorted({**fields, _EXPIRES: str(round(now()) + valid_s)}.items())
    return f"{PATH}?{urlencode([*pairs, (_SIGNATURE, _signature(secret, pairs))])}"


def check_playing(access: Access, request: Request, now: Callable[[], float] = time.time) -> None:
    """That this GET may speak. Raises ApiError."""
    pairs = request.query_params.multi_items()
    if _SIGNATURE in request.query_params and access.wants_keys:
        _check_signature(access, pairs, now())
        return
    site = request.headers.get("sec-fetch-site")
    if "origin" not in request.headers and site not in _OWN_SITE and not access.allows_all_origins:
        message = (
            "a page of another origin plays this by a signed URL (POST to it with /url), or, where its origin is in"
        )
        message += ' PARLANDO_ALLOWED_ORIGINS, from <audio crossorigin="anonymous">'
        raise ApiError("origin_not_allowed", message, param="origin")
    access.check_origin(request)
    access.check_key(request)


def _check_signature(access: Access, pairs: list[tuple[str, str]], now_s: float) -> None:
    given = dict(pairs)
    rest = sorted(pair for pair in pairs if pair[0] != _SIGNATURE)
    wanted = given[_SIGNATURE].encode(errors="replace")
    if not access.enter(lambda secret: hmac.compare_digest(_signature(secret, rest).encode(), wanted)):
        message = f"the signature is not that of these parameters; POST to {PATH}/url for one"
        raise ApiError("invalid_signature", message, param=_SIGNATURE)
    expires = given.get(_EXPIRES, "")
    left_s = int(expires) - now_s if expires.isascii() and expires.isdecimal() and len(expires) < 16 else 0
    if not 0 < left_s <= MAX_VALID_S:
        message = f"the URL is valid for another {left_s:.0f} s; sign one for 1 to {MAX_VALID_S} s"
        raise ApiError("invalid_signature", message, param=_EXPIRES)


def _signature(secret: bytes, pairs: Iterable[tuple[str, str]]) -> str:
    return hmac.new(secret, f"GET {PATH}?{urlencode(list(pairs))}".encode(), hashlib.sha256).hexdigest()
