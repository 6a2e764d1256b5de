"""Messages in any order, of any type, with any rubbish: never an internal error, a hang or a leaked stream.

`serving` itself checks at its end that no utterance, stream or socket is left.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.edge.toy import AsgiSocket, ToyEngine, serving

_NAMES = st.sampled_from(["a", "b"])
_TEXT = st.sampled_from(["\ud800 x ", "", " ", "word", "two words ", "FAULT ", "MUTE ", "😀", "\ud83d\ude00", "x" * 90])
_JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(allow_nan=True), _TEXT, st.just([1]), st.just({})
)


def _message(kinds: list[str], fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    mostly = {name: st.one_of(good, good, good, _JUNK) for name, good in fields.items()}
    kind = st.one_of(*[st.sampled_from(kinds)] * 5, _JUNK)
    return st.fixed_dictionaries({"type": kind}, optional=mostly).map(lambda message: {"text": json.dumps(message)})


_RUBBISH = st.one_of(
    st.binary(max_size=20).map(lambda data: {"bytes": data}),
    st.text(max_size=20).map(lambda text: {"text": text}),
    st.just({"text": "[" * 3_000}),
)
PARLANDO = _message(
    ["start", "append", "append", "flush", "end", "cancel"],
    {"context": _NAMES, "text": _TEXT, "played_ms": st.floats(0, 1e4), "seed": st.integers(0, 9), "speed": st.just(1)},
)
NARI = _message(
    ["request.start", "input_text.append", "input_text.end", "response.cancel"],
    {"sequence": st.integers(0, 3), "text": _TEXT, "voice": st.just("rms"), "do_sample": st.booleans()},
)

_FLAG = st.sampled_from([True, False, None])
ELEVEN = st.fixed_dictionaries(
    {},
    optional={
        "text": st.one_of(_TEXT, _TEXT, _JUNK),
        "context_id": st.one_of(_NAMES, _NAMES, _JUNK),
        "flush": _FLAG,
        "close_context": _FLAG,
        "voice_settings": st.one_of(st.just({"speed": 1.1, "stability": 0.5}), _JUNK),
        "xi-api-key": st.one_of(st.just("key"), _JUNK),
    },
).map(lambda message: {"text": json.dumps(message)})


async def _converse(socket: AsgiSocket, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        socket.raw(**message)
    socket.raw(text="{")  # closes any connection that is still open
    while True:
        heard = await socket.recv()
        if isinstance(heard, bytes):
            continue
        told = heard["error"] if isinstance(heard.get("error"), dict) else heard
        is_asked_for = told.get("reason") == "error" or told.get("error") == "engine_fault"  # by the text FAULT
        assert told.get("code") not in ("internal_error", 1011) or is_asked_for
        assert heard.get("error") != "internal_error"
        if heard.get("type") == "close":
            return


async def _conversations(several: list[list[dict[str, Any]]], *subprotocols: str, **place: str) -> None:
    async with serving(ToyEngine(), max_characters=100, max_message_bytes=2_048, first_audio_s=0.05) as app:
        for messages in several:
            async with AsgiSocket(app, *subprotocols, **place) as socket:
                await _converse(socket, messages)


def _several(one: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[list[dict[str, Any]]]]:
    sequence = st.lists(st.one_of(*[one] * 12, _RUBBISH), max_size=12)
    return st.lists(sequence, min_size=1, max_size=5)


_QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_QUICK
@given(_several(PARLANDO))
def test_any_sequence_of_parlando(several: list[list[dict[str, Any]]]) -> None:
    asyncio.run(_conversations(several, "parlando.v1"))


@_QUICK
@given(_several(NARI))
def test_any_sequence_of_nari(several: list[list[dict[str, Any]]]) -> None:
    asyncio.run(_conversations(several, "nari.speech.v1"))


@pytest.mark.parametrize("kind", ["stream-input", "multi-stream-input"])
@example(several=[[{"text": '{"text": "FAULT "}'}, {"text": "{}"}]])
@_QUICK
@given(several=_several(ELEVEN))
def test_any_sequence_of_elevenlabs(kind: str, several: list[list[dict[str, Any]]]) -> None:
    asyncio.run(_conversations(several, path=f"/v1/text-to-speech/rms/{kind}", query="output_format=pcm_24000"))
