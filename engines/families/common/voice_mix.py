"""Who speaks, and in whose timbre: `rms`, or a mix, `rms+slt` (equal shares) or `rms(2)+slt(1)` (weights).

That is how users of Kokoro-FastAPI write it. The codes of a mix are one voice's, that of the greatest weight; the
vocoder mixes the timbres. Shares stay exact fractions to the end, so that equal shares are equal bits however written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from engines.errors import BadParameter, UnknownVoice

Timbre = tuple[tuple[str, float], ...]  # (voice, its share of 1), sorted by voice; empty: the speaker's own
MAX_PARTS = 4
_WEIGHTED = re.compile(r"(.*)\((.*)\)")
_WEIGHT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
Shares = dict[str, Fraction]  # of 1, by voice


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenVoice:
    """The voice whose codes and durations are spoken, and the timbre it is heard in."""

    voice: str
    timbre: Timbre = ()


def choose_voice(voice: Shares, timbre: Shares | None = None) -> ChosenVoice:
    """Of `voice` the heaviest speaks, the first on ties; `timbre` replaces what `voice` says of the timbre."""
    speaker = max(voice, key=lambda name: voice[name])
    heard = voice if timbre is None else timbre
    if list(heard) == [speaker]:
        return ChosenVoice(voice=speaker)
    return ChosenVoice(voice=speaker, timbre=tuple((name, float(share)) for name, share in sorted(heard.items())))


def parse_mix(text: str, names: Mapping[str, str]) -> Shares:
    """A voice or a mix, in the order in which it is written. `names` gives the voice of every name.

    Raises UnknownVoice or BadParameter.
    """
    if text in names:
        return {names[text]: Fraction(1)}
    parts = text.split("+")
    if len(parts) > MAX_PARTS:
        raise BadParameter(f"the mix {_shown(text)} has {len(parts)} voices, the limit is {MAX_PARTS}")
    found: Shares = {}
    for part in parts:
        name, weight = _part(part.strip(), text)
        if name not in names:
            where = "" if name == text else f" in the mix {_shown(text)}"
            raise UnknownVoice(f"voice {_shown(name)}{where} does not exist; valid: {', '.join(names)}")
        if names[name] in found:
            raise BadParameter(f"the mix {_shown(text)} names the voice {names[name]!r} twice; give it one weight")
        found[names[name]] = weight
    total = sum(found.values())
    return {name: weight / total for name, weight in found.items()}


def _part(part: str, text: str) -> tuple[str, Fraction]:
    """`rms` or `rms(2)` -> name, weight"""
    weighted = _WEIGHTED.fullmatch(part)
    if weighted is None:
        return part, Fraction(1)
    name, weight = weighted.group(1).strip(), weighted.group(2).strip()
    if _WEIGHT.fullmatch(weight) is None or not Fraction(weight):
        raise BadParameter(
            f"the weight {_shown(weight)} in {_shown(text)} is not a positive number; right is one such as 2 or 0.25, "
            "of at most six digits before the point and behind it"
        )
    return name, Fraction(weight)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
