"""Currencies: their signs, codes and names. A sign that is not listed is called by its Unicode name."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

Names = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Currency:
    names: Names
    hundredths: Names | None = None


_CENTS = ("cent", "cents")
_NAMED: dict[str, Currency] = {
    "$": Currency(("dollar", "dollars"), _CENTS),
    "€": Currency(("euro", "euros"), _CENTS),
    "£": Currency(("pound", "pounds"), ("penny", "pence")),
    "¥": Currency(("yen", "yen"), ("sen", "sen")),
    "₹": Currency(("rupee", "rupees"), ("paisa", "paise")),
    "₽": Currency(("ruble", "rubles"), ("kopeck", "kopecks")),
    "₩": Currency(("won", "won"), ("jeon", "jeon")),
    "₿": Currency(("bitcoin", "bitcoins")),
    "₱": Currency(("peso", "pesos"), ("centavo", "centavos")),
    "₪": Currency(("shekel", "shekels")),
    "฿": Currency(("baht", "baht")),
}
_PREFIXED = {"R$": Currency(("real", "reais"), _CENTS)}
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
    "TRY": Currency(("turkish lira", "turkish lira")),
    "ILS": _NAMED["₪"],
    "ZAR": Currency(("rand", "rand")),
}
SIGNS = frozenset(chr(code) for code in range(0x20D0) if code != 0xA2 and unicodedata.category(chr(code)) == "Sc")
_CODES = "|".join(code for code in CODES if code != "TRY")  # "TRY5" is shouted
SIGN = rf"(?:(?:US|U\.S\.|AU?|CA?|NZ|HK|S|R)?\$|[{''.join(sorted(SIGNS))}]|(?:{_CODES})(?=\d))"


@lru_cache(maxsize=256)
def currency(sign: str) -> Currency:
    """Of a sign, with or without a country before it, or of a code."""
    found = CODES.get(sign) or _PREFIXED.get(sign) or _NAMED.get(sign[-1])
    if found is not None:
        return found
    name = unicodedata.name(sign[-1]).lower().removesuffix(" sign").replace("-", " ")
    return Currency((name, name))
