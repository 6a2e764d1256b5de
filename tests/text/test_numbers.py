"""Numbers keep their value in both conventions, units their case, ranges their "to"."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.text import FrontEnd
from engines.text.amounts import canonical
from engines.text.units import detached_unit, unit_names

FRONT_END = FrontEnd.load()
EXAMPLES = int(os.environ.get("GENERATED_TEXTS", "300"))
UNITS = ["km", "mg", "MB", "Mb", "mW", "MW", "psi", "mg/kg", "°C", "%", "kWh", "ft", "GHz"]
SIGNS = ["$", "€", "£", "₺", "₹", "₫"]
GROUPED = st.tuples(st.integers(0, 10**12), st.integers(0, 99)).map(lambda pair: (f"{pair[0]:,}", f"{pair[1]:02}"))


@settings(deadline=None, max_examples=EXAMPLES)
@given(parts=GROUPED)
def test_both_conventions_are_one_number(parts: tuple[str, str]) -> None:
    whole, decimals = parts
    english, other = f"{whole}.{decimals}", f"{whole.replace(',', '.')},{decimals}"
    assert canonical(english) == canonical(other) == f"{whole.replace(',', '')}.{decimals}"
    assert FRONT_END.normalise(f"€{english}") == FRONT_END.normalise(f"€{other}")
    assert FRONT_END.normalise(f"{other} €") == FRONT_END.normalise(f"€{english}")


@st.composite
def _ranges(draw: st.DrawFn) -> str:
    low = draw(st.integers(1, 90))
    high = low + draw(st.integers(1, 900))
    dash = draw(st.sampled_from(["-", "–", " - ", " – "]))
    kind = draw(st.sampled_from(["plain", "unit", "both", "money", "monies", "scales", "clock", "ordinal"]))
    unit, sign = draw(st.sampled_from(UNITS)), draw(st.sampled_from(SIGNS))
    hour = 1 + low % 11
    return {
        "plain": f"{low}{dash}{high}",
        "unit": f"{low}{dash.strip()}{high} {unit}",
        "both": f"{low}{unit}{dash}{high}{unit}",
        "money": f"{sign}{low}{dash.strip()}{high}",
        "monies": f"{sign}{low}{dash}{sign}{high}",
        "scales": f"{sign}{low}M{dash}{sign}{high}M",
        "clock": f"{hour}am{dash}{1 + high % 11}pm",
        "ordinal": f"{low}th{dash}{1 + high % 40}th",
    }[kind]


@settings(deadline=None, max_examples=EXAMPLES)
@given(written=_ranges())
def test_ranges_never_lose_their_to(written: str) -> None:
    words = FRONT_END.normalise(f"about {written} there").split()
    assert "to" in words, written


@pytest.mark.parametrize(
    ("first", "second"), [("mW", "MW"), ("Mb", "MB"), ("mm", "Mm"), ("kb", "kB"), ("mV", "MV"), ("mohm", "Mohm")]
)
def test_case_is_meaning(first: str, second: str) -> None:
    assert unit_names(first) is not None
    assert unit_names(second) is not None
    assert unit_names(first) != unit_names(second)


@pytest.mark.parametrize("symbol", ["mw", "Mhz2", "xyz", "b", "B", "D", "foo", "kg/", "/s", "am/pm/a/b"])
def test_what_is_no_unit_has_no_name(symbol: str) -> None:
    assert unit_names(symbol) is None


@pytest.mark.parametrize("word", ["in", "IN", "pt", "MS", "ATM", "Min", "A", "d"])
def test_words_behind_numbers_are_no_units(word: str) -> None:
    assert detached_unit(word, "5") is None
