"""`parlando.v1` in one process: contexts, positions, order. Time is fake where it matters."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from engines.playout import Playout
from server.speech.transcript import Transcript
from tests.edge.toy import WORD_S, AsgiSocket, FakeClock, serving, word_pcm


def words(count: int, salt: str = "w") -> list[str]:
    return [f"{salt}{number}" for number in range(count)]


def test_contexts_speak_beside_each_other_and_never_mix() -> None:
    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app, "parlando.v1") as socket:
            texts = {name: words(12, name) for name in ("a", "b", "c")}
            for name in texts:
                socket.say("start", context=name)
            for round_ in range(12):
                for name, spoken in texts.items():
                    socket.say("append", context=name, text=spoken[round_] + " ")
            for name in texts:
                socket.say("end", context=name)
            heard: dict[str | None, bytes] = {}
            done, current = set(), None
            while done != set(texts):
                message = await socket.recv()
                if isinstance(message, bytes):
                    heard[current] = heard.get(current, b"") + message
                elif message["type"] == "audio":
                    current = message["context"]
                elif message["type"] == "done":
                    done.add(message["context"])
            assert heard == {name: b"".join(map(word_pcm, spoken)) for name, spoken in texts.items()}

    asyncio.run(scenario())


def test_unnamed_audio_needs_no_announcement_until_the_context_changes() -> None:
    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app) as socket:
            kinds = []
            for name in (None, "a", None):
                named = {} if name is None else {"context": name}
                socket.say("append", text="Hi", **named)
                socket.say("end", **named)
                _, events = await socket.hear("done")
                kinds.append([event["context"] for event in events if event["type"] == "audio"])
            assert kinds == [[], ["a"], [None]]

    asyncio.run(scenario())


def test_cancel_ends_one_context_and_its_name_is_free_at_once() -> None:
    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", context="a", text="one two three ")
            socket.say("append", context="b", text="four ")
            socket.say("cancel", context="a")
            socket.say("append", context="a", text="five")
            socket.say("end", context="a")
            socket.say("end", context="b")
            order: list[tuple[Any, Any]] = []
            while sum(kind == "done" for kind, _ in order) < 2:
                message = await socket.recv()
                if not isinstance(message, bytes) and message["type"] != "audio":
                    order.append((message["type"], message.get("context")))
            of_a = [kind for kind, name in order if name == "a"]
            assert of_a.count("started") == 2
            assert of_a[of_a.index("cancelled") + 1] == "started"
            assert of_a[-1] == "done"

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(12))
def test_cancel_position_is_right_to_the_word(seed: int) -> None:
    draw = random.Random(seed)
    spoken = words(draw.randint(1, 30))
    text = "  " + " ".join(spoken) + draw.choice([" ", " tail", " 😀 "])
    spoken_words = text.split()[: text.rstrip().count(" ") + 1] if text.endswith(" ") else spoken
    at_s = draw.uniform(0, 1.3 * WORD_S * len(spoken))
    played_ms = draw.choice([None, draw.uniform(0, 2000 * WORD_S * len(spoken))])

    async def scenario() -> None:
        clock = FakeClock()
        async with serving(clock=clock) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text=text)
            pcm, events = await socket.hear("waiting_for_text")
            sent_s = len(pcm) / 48_000
            assert sent_s == pytest.approx(WORD_S * len(spoken_words))
            clock.now += at_s
            socket.say("cancel", **({} if played_ms is None else {"played_ms": played_ms}))
            rest, events = await socket.hear("cancelled")
            assert rest == b""
            told = events[-1]
            expected_s = min(sent_s, at_s if played_ms is None else played_ms / 1000)
            assert told["audio_ms"] == pytest.approx(1000 * expected_s, abs=0.01)
            assert told["sent_ms"] == pytest.approx(1000 * sent_s)
            count = int(expected_s / WORD_S + 1e-4)
            end = 0
            for word in spoken_words[:count]:
                end = text.index(word, end) + len(word)
            assert told["text_spoken"] == text[:end]
            assert told["text_spoken"] + told["text_remaining"] == text
            assert told["text_accuracy"] == "word"

    asyncio.run(scenario())


def test_nothing_is_confirmed_before_the_first_audio() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with serving(clock=clock) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="unfinished")
            await socket.hear("started")
            clock.now += 50
            socket.say("cancel", played_ms=9_000)
            _, events = await socket.hear("cancelled")
            assert (events[-1]["audio_ms"], events[-1]["sent_ms"]) == (0, 0)
            assert (events[-1]["text_spoken"], events[-1]["text_remaining"]) == ("", "unfinished")

    asyncio.run(scenario())


def test_a_listener_does_not_hear_while_there_is_nothing_to_hear() -> None:
    """One second sent, five seconds of silence, another second sent: a tenth later 1.1 s have been heard."""
    playout = Playout(1_000)
    playout.sent(1_000, now=10.0)
    playout.waiting_for_text()
    playout.sent(1_000, now=16.0)
    assert playout.played_s(16.1) == pytest.approx(1.1)
    assert playout.played_s(99.0) == 2.0
    assert playout.underruns == 0


def test_times_never_go_back() -> None:
    from engines.messages import WordTime

    transcript = Transcript()
    transcript.append("one two")
    rising = transcript.spoke(
        [
            WordTime(start_char=0, end_char=3, start_s=0.0, end_s=0.5),
            WordTime(start_char=2, end_char=9, start_s=0.4, end_s=0.4),
        ]
    )
    assert [(word.start_s, word.end_s, word.end_char) for word in rising] == [(0.0, 0.5, 3), (0.5, 0.5, 7)]
    assert transcript.split(0.49) == ("", "one two")
    assert transcript.split(0.5) == ("one two", "")


def test_the_name_of_an_utterance_is_that_of_its_speech() -> None:
    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app, "parlando.v1") as socket:

            async def name_of(*steps: tuple[str, dict[str, object]], seed: int = 3) -> str:
                socket.say("start", seed=seed)
                for kind, fields in steps:
                    socket.say(kind, **fields)
                socket.say("end")
                _, events = await socket.hear("done")
                assert events[-1]["seed"] == seed
                return str(events[-1]["id"])

            whole = await name_of(("append", {"text": "one two"}))
            cut = await name_of(("append", {"text": "on"}), ("append", {"text": "e   two"}))
            assert whole == cut
            others = [
                await name_of(("append", {"text": "one two"}), seed=4),
                await name_of(("append", {"text": "one, two"})),
                await name_of(("append", {"text": "one\ntwo"})),
                await name_of(("append", {"text": "one "}), ("flush", {}), ("append", {"text": "two"})),
            ]
            assert len({whole, *others}) == 5

    asyncio.run(scenario())
