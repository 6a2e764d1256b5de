"""Numbers that name something: codes, PINs, accounts, flights, rooms, models. They are no amounts.

The words before decide, then the shape. Secrets are read sign by sign; what people number in speech (flights, rooms)
in pairs of digits.
"""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import is_spelled, spell
from engines.text.amounts import COUNTED
from engines.text.context import Around, Spoken
from engines.text.units import detached_unit
from engines.text.word_lists import word_list

_BY_SIGN = re.compile(
    r"(?:^| )(?:code|pin|otp|passcode|password|confirmation|ending|ending in|ends in|ending with|"
    r"last (?:two|three|four|five|six|\d)|account|acct|tracking|reference|ref|booking|reservation|serial|iban|imei|"
    r"routing|passport|cvv2?|cvc2?|rma|claim|transaction|policy|membership|member|licen[cs]e|plate|sku|zip|zipcode|postcode|extension|ext)"
    r"(?: (?:number|no|id|digits|code|#))?( is| are| was)?$"
)
_BY_PAIRS = re.compile(
    r"(?:^| )(?:gate|flight|room|order|invoice|ticket|case|model|part|cat|catalog(?:ue)?|suite|unit|locker|bus|route|"
    r"train|highway|apartment|apt|box|item|bay|terminal|version|platform|seat|row|employee|lot|form)"
    r"( number| no| id| #)?$"
)
_ANNOUNCED = re.compile(
    r"(?:^| )(?:po|job|bug|build|check|tag|quote|receipt|request|issue|batch|id)(?: number| no| is)?$"
)
_WRITTEN = re.compile(r"[A-Za-z0-9]+(?:[-/.][A-Za-z0-9]+)*#?")
_CAPITALS = re.compile(r"[A-Z]{4,12}")
_PARTS = re.compile(r"\d|[A-Za-z]+|#")
_MODEL = re.compile(r"\d{4}[A-Za-z]{0,2}")
_WIRELESS = re.compile(r"802\.(\d{1,2})([a-z]{0,2})")
_LONG = re.compile(r"\d+(?:-\d+){2,}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{7,64}")
_BACK_AND_FORTH = re.compile(r"\d[a-f]+\d|[a-f]\d+[a-f]")  # neither a number with a unit nor a word with a number
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_USES_OF_CODES = frozenset(word_list("log login sign verify confirm reset complete unlock continue access"))
_ZIP = re.compile(r"\d{5}")
_SHORT_CODE = re.compile(r"\d{4,8}")
_GROUP = re.compile(r"\d{2,4}")
_MAX_GROUPS = 4
_TIMES = frozenset(word_list("times seconds minutes hours days weeks months years"))
_CODES = frozenset(word_list("code pin otp passcode password"))
_STANDARDS = frozenset(["iso", "am", "pm", "ad", "bc", "usd", "eur", "gbp"])


def read_identifier(core: str, around: Around) -> Spoken | None:
    named = _named(core, around)
    if named is not None:
        return named
    digits = core.replace("-", "")
    if len(digits) > 8 and _LONG.fullmatch(core):
        return Spoken(words=numbers.digits(digits))
    if _ZIP.fullmatch(core) and around.left.shouted and len(around.left.core) == 2:  # a state and its ZIP code
        return Spoken(words=numbers.digits(core))
    wireless = _WIRELESS.fullmatch(core)
    if wireless:
        letters = spell(wireless[2])
        return Spoken(words=["eight", "oh", "two", "dot", *numbers.cardinal(int(wireless[1])), *letters])
    if (_HEXADECIMAL.fullmatch(core) and _BACK_AND_FORTH.search(core)) or _UUID.fullmatch(core):
        return Spoken(words=[word for one in core if one != "-" for word in _by_sign(one)])
    return None


def read_letters_code(core: str, around: Around) -> Spoken | None:
    """A code of letters alone, where one was announced: "confirmation code QXKJPL"."""
    if not _CAPITALS.fullmatch(core) or around.left.shouted or not _BY_SIGN.search(around.before):
        return None
    return Spoken(words=spell(core))


def announces_code(around: Around) -> bool:
    """Whether what stands before names something that has a number."""
    before = around.before
    return any(words.search(before) is not None for words in (_BY_SIGN, _BY_PAIRS, _ANNOUNCED))


def spell_code(core: str) -> list[str]:
    """Sign by sign, marks between left out."""
    return _by_sign(core)


def _named(core: str, around: Around) -> Spoken | None:
    digits = sum(one.isdecimal() for one in core)
    if _is_code_behind(core, around):
        return Spoken(words=_by_sign(core))
    if not digits or not around.recent or not _WRITTEN.fullmatch(core):
        return None
    before = around.before
    by_sign = _BY_SIGN.search(before)
    groups = _groups_behind(core, around) if by_sign and _GROUP.fullmatch(core) else 0
    if groups:
        behind = [word for count in range(1, groups + 1) for word in numbers.digits(around.following(count))]
        return Spoken(words=[*numbers.digits(core), *behind], taken=groups)
    if by_sign and (digits > 2 or not core.isdecimal()):
        if by_sign[1] and core.isdecimal() and _is_counted(core, around.following()):
            return None
        return Spoken(words=_by_sign(core))
    by_pairs = _BY_PAIRS.search(before)
    if by_pairs:
        if core.isdecimal():
            return None if digits < 4 else Spoken(words=_pairs(core) if digits == 4 else numbers.digits(core))
        whole = re.search(r"\d{5}", core) or (by_pairs[1] and digits > 4)  # "order no. 7741-22"
        return Spoken(words=_by_sign(core)) if whole else None
    model = around.left.shouted and _MODEL.fullmatch(core) and around.left.lower not in _STANDARDS
    if model and is_spelled(around.left.lower, among_capitals=False):
        return Spoken(words=[*_pairs(core[:4]), *spell(core[4:])])
    return None


def read_named_by_sign(digits: str) -> Spoken | None:
    """ "#48213" names something wherever it stands."""
    return Spoken(words=numbers.digits(digits)) if len(digits) > 4 and digits.isdecimal() else None


def _is_code_behind(core: str, around: Around) -> bool:
    """ "482913 is your code", "use 482913 to log in" """
    if not _SHORT_CODE.fullmatch(core):
        return False
    following = around.following().lower()
    if following == "to" and around.left.lower in ("use", "enter", "type"):
        return around.following(2).lower() in _USES_OF_CODES
    if following != "is" or around.following(2).lower() not in ("your", "the", "my"):
        return False
    return any(around.following(count).lower() in _CODES for count in (3, 4, 5))


def _groups_behind(core: str, around: Around) -> int:
    """How many of the following tokens go on with a code in groups of one length: "482 913"."""
    count = 0
    while count < _MAX_GROUPS and (count == 0 or around.goes_on(count)):
        group = around.following(count + 1)
        if len(group) != len(core) or not group.isdecimal():
            break
        count += 1
    if not count or not around.goes_on(count):
        return count
    behind = around.following(count + 1)
    return 0 if behind.lower() in _TIMES or _is_counted(around.following(count), behind) else count


def _is_counted(core: str, following: str) -> bool:
    return following.lower() in COUNTED or detached_unit(following, core) is not None


def _by_sign(core: str) -> list[str]:
    """Each digit, each letter; a run of letters that is a word stays one."""
    words: list[str] = []
    for part in _PARTS.findall(core):
        if part.isdecimal():
            words += numbers.digits(part)
        elif part == "#":
            words.append("hash")
        else:
            word = len(part) > 3 and not is_spelled(part.lower(), among_capitals=False)
            words += [part.lower()] if word else spell(part)
    return words


def _pairs(digits: str) -> list[str]:
    return numbers.digits(digits) if digits.startswith("0") else numbers.year(int(digits))
