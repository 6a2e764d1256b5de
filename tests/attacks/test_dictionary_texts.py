"""Little to send, much to read: dictionaries whose entries begin alike, and respellings that never end."""

from __future__ import annotations

import pickle
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from engines.messages import Submit
from engines.text import FrontEnd, parse_dictionary
from engines.text.phrases import Phrases
from server.engine.dictionary_cache import DictionaryCache
from tests.attacks.victim import Victim
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say

PATH = "/v1/pronunciation-dictionaries"
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
        say(socket, type="start", pronunciations={"entries": NUMBERS})
        say(socket, type="append", text="x " * 256)
        say(socket, type="end")
        _, events = hear(socket, "done", "error")
        assert events[-1]["code"] == "text_too_long"
        assert "entry 'x' is spoken with 600 characters each time" in events[-1]["message"]
        assert "the limit is 4096" in events[-1]["message"]


def test_a_whole_text_is_refused_before_it_speaks(client: httpx.Client, victim: Victim) -> None:
    answer = speak(client, "x " * 256, NUMBERS)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (413, "text_too_long")
    assert "entry 'x' is spoken with 600 characters each time" in error["message"]
    assert "the limit is 4096" in error["message"]
    assert speak(client, "x and y", [{"word": "x", "say": "7 7"}]).status_code == 200


def test_long_phones_of_one_word(client: httpx.Client) -> None:
    answer = speak(client, "x", [{"word": "x", "phones": "aa1 " * 2_000}])
    assert answer.status_code == 400
    assert "its phones has 8000 characters, the limit is 500" in answer.json()["error"]["message"]


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), max_size=12), st.integers(0, 900))
def test_a_dictionary_crosses_the_pipe_once_while_both_ends_have_it(asked: list[list[int]], max_bytes: int) -> None:
    dictionaries = [
        parse_dictionary(
            {"entries": [{"word": f"a{number}-{one}", "say": "b"} for one in range(4 * number)]}, f"{number}"
        )
        for number in range(6)
    ]
    ours, theirs = DictionaryCache(max_bytes), DictionaryCache(max_bytes)
    for numbers in asked:
        submit = Submit(request_id="x", voice="", seed=0).asking(
            pronunciations=tuple(dictionaries[one] for one in numbers)
        )
        assert theirs.unfold(pickle.loads(pickle.dumps(ours.fold(submit)))) == submit


def test_a_known_dictionary_crosses_as_its_name() -> None:
    dictionary = parse_dictionary({"entries": ALIKE}, "request")
    cache, submit = DictionaryCache(), Submit(request_id="x", voice="", seed=0).asking(pronunciations=(dictionary,))
    first, again = (len(pickle.dumps(cache.fold(submit))) for _ in range(2))
    assert first > dictionary.packed_bytes
    assert again < 1_000


def test_stored_dictionaries_of_all_sizes(client: httpx.Client, victim: Victim) -> None:
    """Sixteen of several thousand entries each, all asked for at once by every request."""
    names = []
    for number in range(16):
        rules = [{"string_to_replace": f"a{number}b{one}", "type": "alias", "alias": "x"} for one in range(3_500)]
        answer = client.post(PATH + "/add-from-rules", json={"name": f"many{number}", "rules": rules})
        assert answer.status_code == 200
        names.append(answer.json()["id"])
    for round_ in range(4):
        body = {"input": "a1b2 end.", "pronunciations": {"dictionaries": names[round_:] + names[:round_]}}
        assert client.post("/v1/audio/speech", json=body).status_code == 200
    for name in names:
        assert client.delete(f"{PATH}/{name}").status_code == 200
