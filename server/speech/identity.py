"""What an utterance is called: the same name for the same bytes of speech, on machines of one kind, after any restart.

The name covers all that decides the samples: the bundle, the text, where it was flushed, voice, timbre, pitch, seed,
settings, the content of pronunciation dictionaries, and the kind of kernels, since other kinds have other last bits:
their form, the processor's instruction class and the runtime's version. How the text was cut on its way does not count,
nor do spaces beyond the first: the front end reads neither. With a draft tolerance the samples hang on the server's
load as well, so a name says what was asked for only, and says by its beginning that it is of that kind.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from engines.messages import LeadingSilence, Submit
from engines.text import PronunciationDictionary

_SPACE = re.compile(r"\s+")


def normalised(text: str) -> str:
    """White space as the front end hears it: a space, a line's end, or a paragraph's."""
    return _SPACE.sub(lambda run: "\n" * min(2, run.group().count("\n")) or " ", text)


def utterance_id(
    bundle_digest: str,
    arithmetic: str,
    text: str,
    flushes: Sequence[int],
    submit: Submit,
    *,
    rate_hz: int,
    tempo: float,
    rendering: str,
    draft_tolerance: int = 0,
    voice_digest: str = "",
) -> str:
    """`flushes` are the places in the text, in characters, where the client flushed before its end; `voice_digest` is
    of a voice that the bundle's does not cover."""
    edges = [0, *flushes, len(text)]
    pieces = [normalised(text[start:end]) for start, end in pairwise(edges)]
    named = {
        "bundle": bundle_digest,
        "arithmetic": arithmetic,
        "text": pieces,
        "voice": submit.voice,
        "seed": submit.seed,
        "rate_hz": rate_hz,
        "tempo": tempo,
        "rendering": rendering,
    }
    if submit.leading_silence is LeadingSilence.TRIM:
        named["leading_silence"] = submit.leading_silence
    if submit.options:
        named["options"] = dict(submit.options)
    if draft_tolerance:
        named["draft_tolerance"] = draft_tolerance
    canonical = json.dumps(named, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_named)
    kind = "near" if draft_tolerance else "spk"
    return f"{kind}-{hashlib.sha256(canonical.encode(errors='surrogatepass')).hexdigest()[:32]}"


def _named(value: Any) -> Any:
    """What stands in a name for a value of an option that JSON does not know."""
    return value.version if isinstance(value, PronunciationDictionary) else asdict(value)
