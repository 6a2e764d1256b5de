"""States of the USA by their two letters, behind a town: "Boston, MA", "Portland, OR 97201", "in Gary, IN".

Letters that are words or other short forms too are a state only where a ZIP code follows, a known town stands before
them, or the town was led to by a preposition or a house number.
"""

from __future__ import annotations

import re

from engines.text.context import Around
from engines.text.word_lists import word_list

STATES = dict(
    zip(
        word_list(
            "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH "
            "OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY"
        ),
        (
            "alabama,alaska,arizona,arkansas,california,colorado,connecticut,delaware,florida,georgia,hawaii,idaho,"
            "illinois,indiana,iowa,kansas,kentucky,louisiana,maine,maryland,massachusetts,michigan,minnesota,"
            "mississippi,missouri,montana,nebraska,nevada,new hampshire,new jersey,new mexico,new york,north carolina,"
            "north dakota,ohio,oklahoma,oregon,pennsylvania,rhode island,south carolina,south dakota,tennessee,texas,"
            "utah,vermont,virginia,washington,west virginia,wisconsin,wyoming"
        ).split(","),
        strict=True,
    )
)
_UNSURE = frozenset(word_list("AL AR CO CT DE HI ID IN LA MD ME MS OH OK OR"))
_TOWNS = {  # the last word of the name
    "AL": "birmingham montgomery mobile huntsville tuscaloosa",
    "AR": "rock fayetteville bentonville",
    "CO": "denver boulder aurora springs collins aspen",
    "CT": "hartford bridgeport stamford haven greenwich",
    "DE": "wilmington dover newark",
    "HI": "honolulu hilo kailua lahaina kahului",
    "ID": "boise meridian nampa",
    "IN": "indianapolis wayne evansville bend gary bloomington carmel muncie kokomo lafayette",
    "LA": "orleans rouge shreveport",
    "MD": "baltimore bethesda annapolis rockville frederick columbia",
    "ME": "portland bangor augusta lewiston",
    "MS": "jackson biloxi gulfport",
    "OH": "columbus cleveland cincinnati toledo akron dayton",
    "OK": "tulsa city norman edmond stillwater",
    "OR": "portland salem eugene bend gresham beaverton medford corvallis",
}
_TOWNS_OF = {state: frozenset(word_list(towns)) for state, towns in _TOWNS.items()}
_LEADS = frozenset(word_list("in from to near of at around outside via"))
_NO_TOWNS = frozenset(word_list("hi hey hello yes no ok okay well oh so thanks sorry sure right look"))
_ZIP = re.compile(r"\d{5}(?:-\d{4})?")
_PARTY = re.compile(r"([DRI])-([A-Z]{2})")


def read_state(core: str, around: Around) -> list[str] | None:
    """None of what is no state here."""
    name = STATES.get(core)
    left = around.left
    if name is None or not left.capitalised or left.lower in _NO_TOWNS:
        return None
    if _is_sure(core, around) or _ZIP.fullmatch(around.following()):
        return name.split()
    return None


def _is_sure(core: str, around: Around) -> bool:
    left = around.left
    if not left.paused or left.shouted:
        return False
    if core not in _UNSURE or left.lower in _TOWNS_OF[core]:
        return True
    before = reversed(around.recent[:-1])
    led = next((word for word in before if not word[:1].isupper()), "")
    return led in _LEADS or led.isdecimal()


def read_party(core: str) -> list[str] | None:
    """ "(D-CA)" """
    match = _PARTY.fullmatch(core)
    name = STATES.get(match[2]) if match else None
    return None if match is None or name is None else [match[1].lower(), *name.split()]
