"""Arithmetic in one token: "5-3=2", "3*(4+5)=27", "x^2+1". Every sign is spoken; brackets around one are not."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import spell
from engines.text.amounts import canonical
from engines.text.folding import GREEK_NAMES
from engines.text.marks import OPERATORS
from engines.text.word_lists import word_list

_SYMBOLS = re.compile(r"\d(?:[\d.,]*\d)?|[A-Za-z]+|[<>!=]=|[-–+*×÷=/^<>≤≥≠≈±()\[\]²³%√∞°]|.", re.DOTALL)
_BINARY = frozenset(word_list("+ - – * × ÷ = == != / ^ < > <= >= ≤ ≥ ≠ ≈ ±"))
_DECIDES = _BINARY - {"-", "–", "/"}  # these two alone join ranges, names, fractions
_BEHIND = {"²": "squared", "³": "cubed", "%": "percent", "°": "degrees"}
_BRACKETS = {"(": "parenthesis", "[": "bracket", ")": "parenthesis", "]": "bracket"}
_FUNCTIONS = {
    "sin": "sine",
    "cos": "cosine",
    "tan": "tangent",
    "log": "log",
    "ln": "l n",
    "exp": "exp",
    "sqrt": "square root",
}
_NAMES = frozenset(GREEK_NAMES.values())


def read_expression(core: str) -> list[str] | None:
    """None for what is no arithmetic."""
    symbols = _SYMBOLS.findall(core)
    if len(symbols) < 3 or (_DECIDES.isdisjoint(symbols) and not ("/" in symbols and symbols[0] in _NAMES)):
        return None
    words: list[str] = []
    depth, wants = 0, True  # an operand
    silent: list[bool] = []  # of the brackets open
    for at, symbol in enumerate(symbols):
        if symbol in ("(", "["):
            if at and not wants and not symbols[at - 1].isalnum():
                return None
            silent.append(_is_silent(symbols, at))
            words += [] if silent[-1] else ["open", _BRACKETS[symbol]]
            depth, wants = depth + 1, True
        elif symbol in (")", "]"):
            depth -= 1
            if depth < 0 or wants:
                return None
            words += [] if silent.pop() else ["close", _BRACKETS[symbol]]
        elif symbol in _BEHIND:
            if wants:
                return None
            words.append(_BEHIND[symbol])
        elif symbol in _BINARY and not wants:
            words += ["minus"] if symbol in "-–" else OPERATORS[symbol].split()
            wants = True
        elif wants and symbol in ("-", "–", "+", "±", "√"):
            words += {"-": "minus", "–": "minus", "+": "plus", "±": "plus or minus", "√": "square root of"}[
                symbol
            ].split()
        else:
            operand = _operand(symbol)
            if operand is None or (not wants and (symbol[0].isdecimal() or not symbols[at - 1][-1].isdecimal())):
                return None
            words += operand
            wants = symbol in _FUNCTIONS
    return None if wants or depth else words


def _is_silent(symbols: list[str], opening: int) -> bool:
    """Whether the bracket there holds one operand, as in f(x), or all that a function is of, as in O(n^2)."""
    inside = symbols[opening + 1 :]
    if len(inside) > 1 and inside[1] in (")", "]") and inside[0].isalnum():
        return True
    if not inside or not opening or not symbols[opening - 1].isalpha():
        return False
    end = inside.index("=") if "=" in inside else len(inside)
    return inside[end - 1] == ")" and inside[:end].count("(") == 0


def _operand(symbol: str) -> list[str] | None:
    if symbol == "∞":
        return ["infinity"]
    if symbol[0].isdecimal():
        number = canonical(symbol)
        return None if number is None else numbers.decimal(number)
    if not symbol.isalpha() or not symbol.isascii():
        return None
    if symbol.lower() in _NAMES:
        return [symbol.lower()]
    if symbol in _FUNCTIONS:
        return _FUNCTIONS[symbol].split()
    return spell(symbol) if len(symbol) < 3 else None
