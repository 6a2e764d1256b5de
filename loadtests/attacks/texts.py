"""Attacks by text and by dictionaries: little to send, much to read."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from loadtests.attacks.attack import Attack

_PACE_S = 0.05
_TIMEOUT_S = 60.0


def _post(url: str, body: dict[str, Any]) -> None:
    """Whatever the answer is; a refusal is one."""
    request = urllib.request.Request(
        f"{url}/v1/audio/speech", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            answer.read(4096)
    except (urllib.error.URLError, OSError):
        pass
    time.sleep(_PACE_S)


def entries_that_begin_alike(url: str) -> None:
    """A thousand phrases of eight words that differ in the last, over a text that almost is each of them."""
    entries = [{"word": f"a a a a a a a x{number}", "say": "b"} for number in range(1000)]
    while True:
        _post(url, {"input": "a " * 94, "pronunciations": {"entries": entries}})


def respelling_of_numbers(url: str) -> None:
    """Every word of the text stands for 200 characters of digits."""
    entries = [{"word": "x", "say": "7 " * 100}]
    while True:
        _post(url, {"input": "x " * 256, "pronunciations": {"entries": entries}})


def long_tokens(url: str) -> None:
    """Runs of 120 characters that look like numbers, links and marks until their last character."""
    tokens = ("1" * 119 + "x", "a." * 59 + "!", "![](" * 30, "-" * 119 + "1", "$" + "1," * 59, "*a" * 60)
    while True:
        for token in tokens:
            _post(url, {"input": " ".join([token] * 30)})


ATTACKS = (
    Attack(
        name="entries that begin alike",
        what="a request brings 1,000 phrases of eight words that differ in the last",
        run=entries_that_begin_alike,
    ),
    Attack(
        name="respelling of numbers",
        what="256 words, each respelled as 100 digits",
        run=respelling_of_numbers,
    ),
    Attack(
        name="long tokens",
        what="tokens of 120 characters that are almost a number, an address, a link",
        run=long_tokens,
    ),
)
