"""Currencies: their signs, codes and names. A sign that is not listed is called by its Unicode name."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

Names = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Currency:
    names: Names
    hundredths: Names | None = None
    points: bool = False  # a point parts thousands: €1.000


_CENTS = ("cent", "cents")
_NAMED: dict[str, Currency] = {
    "$": Currency(("dollar", "dollars"), _CENTS),
    "€": Currency(("euro", "euros"), _CENTS, points=True),
    "£": Currency(("pound", "pounds"), ("penny", "pence")),
    "¥": Currency(("yen", "yen"), ("sen", "sen")),
    "₹": Currency(("rupee", "rupees"), ("paisa", "paise")),
    "₽": Currency(("ruble", "rubles"), ("kopeck", "kopecks")),
    "₩": Currency(("won", "won"), ("jeon", "jeon")),
    "₿": Currency(("bitcoin", "bitcoins")),
    "₱": Currency(("peso", "pesos"), ("centavo", "centavos")),
    "₪": Currency(("shekel", "shekels")),
    "฿": Currency(("baht", "baht")),
    "₡": Currency(("colon", "colones"), points=True),
    "₲": Currency(("guarani", "guarani"), points=True),
    "₫": Currency(("dong", "dong"), points=True),
    "₺": Currency(("turkish lira", "turkish lira"), points=True),
}
_PREFIXED = {"R$": Currency(("real", "reais"), _CENTS, points=True)}
CODES: dict[str, Currency] = {
    "USD": _NAMED["$"],
    "EUR": _NAMED["€"],
    "GBP": _NAMED["£"],
    "JPY": _NAMED["¥"],
    "INR": _NAMED["₹"],
    "Rs": _NAMED["₹"],
    "RUB": _NAMED["₽"],
    "KRW": _NAMED["₩"],
    "BTC": _NAMED["₿"],
    "CHF": Currency(("swiss franc", "swiss francs")),
    "AUD": Currency(("australian dollar", "australian dollars"), _CENTS),
    "CAD": Currency(("canadian dollar", "canadian dollars"), _CENTS),
    "NZD": Currency(("new zealand dollar", "new zealand dollars"), _CENTS),
    "HKD": Currency(("hong kong dollar", "hong kong dollars"), _CENTS),
    "SGD": Currency(("singapore dollar", "singapore dollars"), _CENTS),
    "CNY": Currency(("yuan", "yuan")),
    "RMB": Currency(("yuan", "yuan")),
    "MXN": Currency(("mexican peso", "mexican pesos")),
    "BRL": _PREFIXED["R$"],
    "SEK": Currency(("swedish krona", "swedish kronor")),
    "NOK": Currency(("norwegian krone", "norwegian kroner")),
    "DKK": Currency(("danish krone", "danish kroner")),
    "PLN": Currency(("zloty", "zloty")),
    "TRY": _NAMED["₺"],
    "VND": _NAMED["₫"],
    "ILS": _NAMED["₪"],
    "ZAR": Currency(("rand", "rand")),
    "CZK": Currency(("czech koruna", "czech korunas"), points=True),
    "HUF": Currency(("forint", "forints"), points=True),
    "IDR": Currency(("rupiah", "rupiah"), points=True),
    "THB": _NAMED["฿"],
    "AED": Currency(("dirham", "dirhams")),
    "UAH": Currency(("hryvnia", "hryvnias")),
    "Rp": Currency(("rupiah", "rupiah"), points=True),
    "Fr": Currency(("franc", "francs")),
    "kr": Currency(("krone", "kroner"), points=True),
    "zl": Currency(("zloty", "zloty")),  # the l has a stroke, which folding takes
    "Kc": Currency(("koruna", "korunas"), points=True),
}
_BEHIND = frozenset(["kr", "zl", "Kc"])
SIGNS = frozenset("﷼꠸") | {
    chr(code) for code in range(0x20D0) if code != 0xA2 and unicodedata.category(chr(code)) == "Sc"
}
_CODES = "|".join(code for code in CODES if code != "TRY" and code not in _BEHIND)  # "TRY5" is shouted
_GLUED = "|".join(_BEHIND)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}\.\d{3}")
_DOLLARS = r"(?:US|U\.S\.|AU?|CA?|NZ|HK|S|R)?\$"
SIGN = rf"(?:{_DOLLARS}|[{''.join(sorted(SIGNS))}]|(?:{_CODES})(?=\d))"
BEHIND = rf"{SIGN}|{_GLUED}"


def is_currency(text: str) -> bool:
    """Before its amount and a blank; without a full stop."""
    known = text in SIGNS or (text in CODES and (text in _BEHIND or not text.islower()))
    return known or (text.endswith("$") and re.fullmatch(_DOLLARS, text) is not None)


def is_currency_behind(text: str) -> bool:
    return text in SIGNS or text in _BEHIND or (text in CODES and text.isupper())


def money_number(number: str, money: Currency) -> str:
    """Three digits behind a point are thousands where the currency's countries write them so."""
    return number.replace(".", "") if money.points and _THOUSANDS.fullmatch(number) else number


@lru_cache(maxsize=256)
def currency(sign: str) -> Currency:
    """Of a sign, with or without a country before it, or of a code."""
    found = CODES.get(sign) or _PREFIXED.get(sign) or _NAMED.get(sign[-1])
    if found is not None:
        return found
    name = unicodedata.name(sign[-1]).lower().removesuffix(" sign").replace("-", " ")
    return Currency((name, name))
