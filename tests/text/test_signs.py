"""Nothing that changes the meaning vanishes: a sign between or beside digits is spoken."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.text import FrontEnd, UnspeakableText

FRONT_END = FrontEnd.load()
EXAMPLES = int(os.environ.get("GENERATED_TEXTS", "300"))
NUMBERS = st.one_of(
    st.integers(0, 2500).map(str),
    st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: f"{pair[0]}.{pair[1]}"),
)
BETWEEN = {
    "+": "plus",
    "*": "times",
    "×": "times",
    "÷": "divided",
    "=": "equals",
    "<": "less",
    ">": "greater",
    "<=": "most",
    ">=": "least",
    "≤": "most",
    "≥": "least",
    "≠": "equal",
    "≈": "about",
    "±": "plus",
    "^": "power",
    "⊕": "circled",
    "∘": "ring",
}
BEFORE = {
    "-": "minus",
    "+": "plus",
    "±": "plus",
    "~": "about",
    "≈": "about",
    "<": "less",
    ">": "more",
    "≤": "most",
    "≥": "least",
    "#": "number",
    "$": "dollar",
    "€": "euro",
    "₺": "lira",
    "₫": "dong",
    "₴": "hryvnia",
    "§": "section",
    "√": "root",
    "№": "number",
}
BEHIND = {
    "%": "percent",
    "‰": "mille",
    "°": "degree",
    "°C": "celsius",
    "€": "euro",
    "₺": "lira",
    "²": "squared",
    "³": "cubed",
    '"': "inch",
    "+": "plus",
    "¢": "cent",
}


def _heard(text: str) -> str:
    return FRONT_END.normalise(text)


@settings(deadline=None, max_examples=EXAMPLES)
@given(first=NUMBERS, second=NUMBERS, sign=st.sampled_from(sorted(BETWEEN)), blank=st.sampled_from(["", " "]))
def test_a_sign_between_numbers_is_spoken(first: str, second: str, sign: str, blank: str) -> None:
    spoken = _heard(f"so {first}{blank}{sign}{blank}{second} it is")
    assert BETWEEN[sign] in spoken or (sign == "×" and "by" in spoken.split())  # a size


@settings(deadline=None, max_examples=EXAMPLES)
@given(number=NUMBERS, sign=st.sampled_from(sorted(BEFORE)))
def test_a_sign_before_a_number_is_spoken(number: str, sign: str) -> None:
    spoken = _heard(f"so {sign}{number} it is")
    if sign + number == "<3":
        return  # a heart
    assert BEFORE[sign] in spoken or (sign in "$€" and ("cent" in spoken))


@settings(deadline=None, max_examples=EXAMPLES)
@given(number=NUMBERS, sign=st.sampled_from(sorted(BEHIND)))
def test_a_sign_behind_a_number_is_spoken(number: str, sign: str) -> None:
    spoken = _heard(f"so {number}{sign} it is")
    assert BEHIND[sign] in spoken or (sign == "€" and "cent" in spoken)


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    numbers=st.lists(NUMBERS, min_size=3, max_size=5), signs=st.lists(st.sampled_from("+-*×÷/"), min_size=4, max_size=4)
)
def test_no_sign_of_an_equation_is_lost(numbers: list[str], signs: list[str]) -> None:
    names = {"+": "plus", "-": "minus", "*": "times", "×": "times", "÷": "divided", "/": "over", "=": "equals"}
    used = [*signs[: len(numbers) - 2], "="]
    written = numbers[0] + "".join(sign + number for sign, number in zip(used, numbers[1:], strict=True))
    spoken = [word for word in _heard(written).split() if word in names.values()]
    assert spoken == [names[sign] for sign in used]


@settings(deadline=None, max_examples=EXAMPLES)
@given(hours=st.integers(1, 12), zone=st.sampled_from(["GMT", "UTC", "EST"]), sign=st.sampled_from("+-"))
def test_the_side_of_a_time_zone_is_heard(hours: int, zone: str, sign: str) -> None:
    assert {"+": "plus", "-": "minus"}[sign] in _heard(f"at 5 pm {zone}{sign}{hours}").split()


def test_what_is_left_out_is_counted_by_script() -> None:
    stream = FRONT_END.open()
    stream.append("tower of 東京 and مرحبا now 東")
    stream.end()
    assert stream.lost_scripts == {"Han": 3, "Arabic": 5}


def test_a_refusal_names_the_script() -> None:
    with pytest.raises(UnspeakableText, match=r"2 characters of the Han script"):
        FRONT_END.phones("東京")
