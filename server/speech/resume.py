"""A reply that goes on where its connection broke, here or on another replica.

The same request is the same samples on every server with the same bundle and kind of kernels, so a server keeps nothing
for it: it generates again from the start and drops what the client has. The id tells whether it would be the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from starlette.requests import HTTPConnection

from server.audio.formats import AudioFormat, Codec
from server.errors import ApiError

HEADER = "x-resume"
_HEADER = re.compile(r"\s*([a-z]+-[0-9a-f]{32})\s*;\s*from_sample=(\d{1,12})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """`id` names the utterance whose text is `text`."""

    id: str
    from_sample: int
    text: str = ""

    def check(self, id_here: str) -> None:
        """Raises ApiError where other samples would be spoken."""
        if not id_here.startswith("spk-"):
            raise ApiError("cannot_resume", "this server keeps near drafts: a seed does not fix its audio; start again")
        if id_here != self.id:
            message = f"this server would speak other audio, {id_here} for {self.id}: another request, voice or kind of"
            raise ApiError("cannot_resume", f"{message} processor; send the request as it was, or start again")


class Skip:
    """Drops the samples that the client has."""

    def __init__(self, samples: int) -> None:
        self.left = samples

    def rest(self, pcm: bytes) -> bytes:
        dropped = min(self.left, len(pcm) // 2)
        self.left -= dropped
        return pcm[2 * dropped :]


def pieces(text: str, flushes: Sequence[int]) -> list[str]:
    """The text up to each flush, and what follows the last. Raises ApiError."""
    edges = [0, *flushes, len(text)]
    if any(start >= end for start, end in pairwise(edges[:-1])) or edges[-2] > edges[-1]:
        message = f"flushes are {list(flushes)}; they are places behind 0 and up to {len(text)}, each once, in order"
        raise ApiError("invalid_parameter", message, param="flushes")
    return [text[start:end] for start, end in pairwise(edges)]


def resume_header(request: HTTPConnection, form: AudioFormat, text: str, seed: int | None) -> Resume | None:
    """As `X-Resume: ID; from_sample=N` asks, ID from the first answer's `X-Utterance-Id`. Raises ApiError."""
    asked = request.headers.get(HEADER)
    if asked is None:
        return None
    found = _HEADER.fullmatch(asked)
    if found is None:
        message = f"{asked[:80]!r} is not 'ID; from_sample=N' with the first answer's X-Utterance-Id"
        raise ApiError("invalid_parameter", message, param=HEADER)
    if form.codec is not Codec.PCM:
        raise ApiError("invalid_parameter", "only pcm can be resumed; other formats keep a state", param=HEADER)
    if seed is None:
        raise ApiError("invalid_parameter", "send the seed of the first answer's X-Seed, too", param="seed")
    return Resume(id=found[1], from_sample=int(found[2]), text=text)
