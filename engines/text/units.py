"""Units of measure: a written symbol to its spoken names, singular and plural.

The case of an SI prefix is its meaning, so symbols count letter by letter; another case is accepted only where a single
unit can be meant. Compounds ("mg/kg", "m/s²") and powers are derived, not listed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from engines.text.word_lists import word_list

Names = tuple[str, str]

_PREFIXES = {
    "p": "pico",
    "n": "nano",
    "µ": "micro",
    "m": "milli",
    "c": "centi",
    "d": "deci",
    "h": "hecto",
    "k": "kilo",
    "K": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
    "P": "peta",
}
_SCALED = (  # symbol, singular, plural, prefixes in use
    ("m", "meter", "meters", "nµmcdkM"),
    ("g", "gram", "grams", "nµmk"),
    ("L", "liter", "liters", "µmcdh"),
    ("l", "liter", "liters", "µmcdh"),
    ("s", "second", "seconds", "nµm"),
    ("W", "watt", "watts", "µmkMGT"),
    ("Wh", "watt hour", "watt hours", "mkMGT"),
    ("V", "volt", "volts", "µmkM"),
    ("A", "ampere", "amperes", "nµmk"),
    ("Ah", "ampere hour", "ampere hours", "m"),
    ("Hz", "hertz", "hertz", "kMGT"),
    ("Pa", "pascal", "pascals", "hkMG"),
    ("J", "joule", "joules", "mkMG"),
    ("eV", "electron volt", "electron volts", "mkMGT"),
    ("N", "newton", "newtons", "mkM"),
    ("Nm", "newton meter", "newton meters", "k"),
    ("F", "farad", "farads", "pnµm"),
    ("H", "henry", "henries", "nµm"),
    ("ohm", "ohm", "ohms", "mkM"),
    ("Ω", "ohm", "ohms", ""),  # a token of its own
    ("mol", "mole", "moles", "nµm"),
    ("cal", "calorie", "calories", "k"),
    ("bar", "bar", "bar", "m"),
    ("Sv", "sievert", "sieverts", "µm"),
    ("Bq", "becquerel", "becquerels", "kMG"),
    ("B", "byte", "bytes", "kKMGTP"),
    ("b", "bit", "bits", "kKMGT"),
    ("bit", "bit", "bits", "kKMGT"),
    ("bps", "bit per second", "bits per second", "kKMGT"),
)
_SINGLE: dict[str, Names] = {
    "KiB": ("kibibyte", "kibibytes"),
    "MiB": ("mebibyte", "mebibytes"),
    "GiB": ("gibibyte", "gibibytes"),
    "TiB": ("tebibyte", "tebibytes"),
    "mcg": ("microgram", "micrograms"),
    "ha": ("hectare", "hectares"),
    "cc": ("c c", "c c"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "gal": ("gallon", "gallons"),
    "qt": ("quart", "quarts"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
    "yd": ("yard", "yards"),
    "yds": ("yard", "yards"),
    "mi": ("mile", "miles"),
    "nmi": ("nautical mile", "nautical miles"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "d": ("day", "days"),
    "wk": ("week", "weeks"),
    "wks": ("week", "weeks"),
    "mo": ("month", "months"),
    "mos": ("month", "months"),
    "yr": ("year", "years"),
    "yrs": ("year", "years"),
    "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "mpg": ("mile per gallon", "miles per gallon"),
    "kn": ("knot", "knots"),
    "kts": ("knot", "knots"),
    "hp": ("horsepower", "horsepower"),
    "psi": ("p s i", "p s i"),
    "atm": ("atmosphere", "atmospheres"),
    "mmHg": ("millimeter of mercury", "millimeters of mercury"),
    "inHg": ("inch of mercury", "inches of mercury"),
    "BTU": ("b t u", "b t u"),
    "IU": ("i u", "i u"),
    "dB": ("decibel", "decibels"),
    "dBA": ("decibel _a", "decibels _a"),
    "fps": ("frame per second", "frames per second"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "bpm": ("beat per minute", "beats per minute"),
    "ppm": ("part per million", "parts per million"),
    "ppb": ("part per billion", "parts per billion"),
    "dpi": ("dot per inch", "dots per inch"),
    "ppi": ("pixel per inch", "pixels per inch"),
    "px": ("pixel", "pixels"),
    "pt": ("point", "points"),
    "pts": ("point", "points"),
    "lm": ("lumen", "lumens"),
    "lx": ("lux", "lux"),
    "°": ("degree", "degrees"),
    "°C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
    "%": ("percent", "percent"),
    "‰": ("per mille", "per mille"),
    "¢": ("cent", "cents"),
    "x": ("times", "times"),
    "am": ("_a m", "_a m"),
    "pm": ("p m", "p m"),
    "a.m": ("_a m", "_a m"),
    "p.m": ("p m", "p m"),
    # Typed in small letters for bytes, although no letter of it is right.
    "mb": ("megabyte", "megabytes"),
    "gb": ("gigabyte", "gigabytes"),
    "tb": ("terabyte", "terabytes"),
}
_LENGTHS = frozenset(word_list("m cm mm km µm nm ft in yd mi"))
# As words of their own these are too often something else: units only when glued to the number.
GLUED_ONLY = frozenset(word_list("in b x d pt ma cal bar atm kn gy"))
_LETTERS = frozenset(word_list("m g s h l L W V Ω"))
_DECIMAL_LETTERS = frozenset(word_list("A C F J N"))  # behind a number with a point or sign; else they number things
_IN_CAPITALS = frozenset(
    word_list("KM KG CM MM ML MG LB LBS OZ FT MPH KPH MPG RPM PSI FPS BPM HP HRS MINS KWH KHZ MHZ GHZ KM/H DB AM PM")
)
_DEGREES = {"C": "°C", "F": "°F"}
FIRST_HALVES = {"fl": {"oz": ("fluid ounce", "fluid ounces")}}  # of units of two words
for _short, _full in (("sq", "square"), ("cu", "cubic")):
    FIRST_HALVES[_short] = {
        symbol: (f"{_full} {_SINGLE[symbol][0]}", f"{_full} {_SINGLE[symbol][1]}")
        for symbol in ("ft", "in", "yd", "mi")
    }
    FIRST_HALVES[_short] |= {
        symbol: (f"{_full} {name}", f"{_full} {name}s")
        for symbol, name in (("m", "meter"), ("cm", "centimeter"), ("km", "kilometer"))
    }
_PERIODS = {"d": "day", "day": "day", "mo": "month", "h": "hour", "hr": "hour", "wk": "week", "yr": "year", "y": "year"}


def _exact() -> dict[str, Names]:
    found = dict(_SINGLE)
    for symbol, one, many, prefixes in _SCALED:
        if symbol not in ("B", "b", "N", "H", "F", "A", "J"):  # letters too often something else
            found[symbol] = (one, many)
        for prefix in prefixes:
            named = _PREFIXES[prefix]
            found[prefix + symbol] = (named + one, named + many)
    return found


def _any_case(exact: dict[str, Names]) -> dict[str, Names]:
    meant: dict[str, set[Names]] = {}
    for symbol, names in exact.items():
        meant.setdefault(symbol.lower(), set()).add(names)
    return {symbol: names.copy().pop() for symbol, names in meant.items() if len(names) == 1}


_EXACT = _exact()
_ANY_CASE = _any_case(_EXACT)


@lru_cache(maxsize=2048)
def unit_names(symbol: str) -> Names | None:
    """The names of a unit glued to its number."""
    return _simple(symbol) or _compound(symbol)


def detached_unit(symbol: str, number: str) -> Names | None:
    """The names of a unit behind its number and a blank."""
    if symbol in _DECIMAL_LETTERS:
        named = _DEGREES.get(symbol)
        if "." not in number and number[:1] not in "-+":
            return None
        return _EXACT[named] if named else next((one, many) for unit, one, many, _ in _SCALED if unit == symbol)
    glued = symbol in GLUED_ONLY or (symbol.lower() in GLUED_ONLY and symbol not in _EXACT)
    if glued or (len(symbol) == 1 and symbol.isalpha() and symbol not in _LETTERS):
        return None
    if symbol.isalpha() and symbol.isupper() and symbol not in _EXACT and symbol not in _IN_CAPITALS:
        return None
    if symbol.istitle() and symbol not in _EXACT and len(symbol) < 4:  # "5 Min", a name
        return None
    return unit_names(symbol)


def _simple(symbol: str) -> Names | None:
    names = _EXACT.get(symbol)
    if names is None and (not symbol.isalpha() or symbol.islower() or len(symbol) > 1):
        plural = len(symbol) > 2 and symbol[-1] == "s" and symbol[:-1].isupper()  # "HRs", of home runs
        names = None if plural and symbol[:-1] not in _IN_CAPITALS else _ANY_CASE.get(symbol.lower())
    if names is not None:
        return names
    power = {"²": "square", "2": "square", "³": "cubic", "3": "cubic"}.get(symbol[-1:])
    if power and symbol[:-1] in _LENGTHS:
        one, many = _EXACT[symbol[:-1]]
        return f"{power} {one}", f"{power} {many}"
    return None


def _compound(symbol: str) -> Names | None:
    """ "mg/kg", "kg/day", "m/s²", "tokens/s"."""
    top, slash, rest = symbol.partition("/")
    if not slash or not rest or symbol.count("/") > 2:
        return None
    below = [unit_below(part) for part in rest.split("/")]
    names = _simple(top) or ((top, top) if top.isalpha() and top.islower() and len(top) > 2 else None)
    if names is None or None in below:
        return None
    per = "".join(f" per {name}" for name in below)
    return names[0] + per, names[1] + per


def unit_below(part: str) -> str | None:
    if part in _PERIODS:
        return _PERIODS[part]
    names = _simple(part)
    if names is not None:
        return names[0]
    if part in ("s²", "s2"):
        return "second squared"
    return part if re.fullmatch(r"[a-z]{3,}", part) else None
