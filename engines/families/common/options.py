"""Options of a request against those that a family has: what it lacks is refused by name, and so is a wrong value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engines.errors import BadParameter
from engines.families.base import OptionSpec
from engines.messages import Submit

TEXT_SETTINGS = OptionSpec(
    name="text_settings", kind="object", description="what of the text is left out, and whether tags count"
)


def check_options(submit: Submit, known: Iterable[OptionSpec], model: str) -> None:
    """Raises BadParameter, which names the option, its value and what is right."""
    by_name = {one.name: one for one in known}
    for name, given in submit.options:
        if name not in by_name:
            raise BadParameter(f"{name} is not an option of {model}; valid: {', '.join(by_name)}")
        _check(by_name[name], given)


def _check(option: OptionSpec, given: Any) -> None:
    if option.kind == "object":
        return  # its type is the family's own, made by the server
    if option.kind == "text":
        if not isinstance(given, str):
            raise BadParameter(f"{option.name} {given!r} must be a text")
        if option.choices and given.lower() not in option.choices:
            raise BadParameter(f"{option.name} {given!r} is not spoken; valid: {', '.join(option.choices)}")
        if option.most is not None and len(given) > option.most:
            raise BadParameter(f"{option.name} is {len(given)} characters long, at most {option.most:.0f} are read")
        return
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadParameter(f"{option.name} {given!r} must be a number")
    assert option.least is not None
    assert option.most is not None
    if not option.least <= given <= option.most:
        raise BadParameter(f"{option.name} {given} is out of range {option.least:g} to {option.most:g}")
