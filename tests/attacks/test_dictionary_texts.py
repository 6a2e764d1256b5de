"""Little to send, much to read: dictionaries whose entries begin alike, and respellings that never end."""

from __future__ import annotations

from typing import Any

import httpx

from engines.text import FrontEnd, parse_dictionary
from engines.text.phrases import Phrases
from tests.attacks.victim import Victim
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

ALIKE = [{"word": f"a a a a a a a x{number}", "say": "b"} for number in range(1_000)]
ALMOST = "a " * 94  # 188 bytes
NUMBERS = [{"word": "x", "say": "7 " * 100}]


def speak(client: httpx.Client, text: str, entries: list[dict[str, Any]]) -> httpx.Response:
    body = {"input": text, "response_format": "pcm", "pronunciations": {"entries": entries}}
    return client.post("/v1/audio/speech", json=body)


def test_a_walk_asks_for_each_word_once_whatever_the_entries_are() -> None:
    phrases = Phrases(parse_dictionary({"entries": ALIKE}, "request"))
    while not phrases.ready:
        phrases.read_on()
    asked: list[int] = []

    def following(count: int) -> tuple[str, str, str]:
        asked.append(count)
        return "", "a", ""

    assert phrases.match("a", "", following) is None
    assert asked == list(range(1, 8))


def test_a_dictionary_costs_what_the_text_is_long() -> None:
    """One walk for each word, of at most eight look-ups."""
    front_end, walks = FrontEnd.load(), 0

    class Counting(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            nonlocal walks
            walks += 1
            return super().get(key, default)

    dictionary = parse_dictionary({"entries": ALIKE}, "request")
    stream = front_end.open((dictionary,))
    stream.append(" ")
    (phrases,) = stream._dictionaries
    phrases._any_case = Counting(phrases._any_case)
    stream.append(ALMOST)
    stream.end()
    words = ALMOST.count("a")
    assert 8 * (words - 8) <= walks <= 16 * words  # each word is read once, and once more without its neighbours


def test_entries_that_begin_alike(client: httpx.Client, victim: Victim) -> None:
    for _ in range(8):
        assert speak(client, ALMOST, ALIKE).status_code == 200


def test_a_respelling_counts_as_what_is_spoken(server: RunningServer, victim: Victim) -> None:
    """Of some 70,000 words no more is spoken than a text may have."""
    with dial(server) as socket:
        for text, ends in (("x and y", "done"), ("x " * 256, "error")):
            say(socket, type="start", pronunciations={"entries": NUMBERS})
            say(socket, type="append", text=text)
            say(socket, type="end")
            _, events = hear(socket, "done", "error")
            assert events[-1]["type"] == ends
        assert events[-1]["code"] == "text_too_long"
        assert "entry 'x' is spoken with 600 characters each time" in events[-1]["message"]
        assert "the limit is 4096" in events[-1]["message"]


def test_long_phones_of_one_word(client: httpx.Client) -> None:
    answer = speak(client, "x", [{"word": "x", "phones": "aa1 " * 2_000}])
    assert answer.status_code == 400
    assert "its phones has 8000 characters, the limit is 500" in answer.json()["error"]["message"]
