"""Any order of submit, append, flush, end, pause and cancel, between any steps: no leak, no double free, and a
finished stream has given the very bytes that the same text gives alone.
"""

from __future__ import annotations

import functools
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import load_bundle
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    EndText,
    Event,
    Failed,
    Finished,
    Flush,
    SetPaused,
    Submit,
)
from engines.text import FrontEnd
from tests.engine.toys import NgramDrafter

BUNDLE, FRONT_END = load_bundle(Path("flite")), FrontEnd.load()
PIECES = ("Yes. ", "no, ", "Tea at 5 ", "or", "We all sat still; ", "Hm... ", "!", " ", "\U0001f600")
NAMES = tuple("abcdef")
ALONE: dict[tuple[tuple[str | None, ...], int], bytes | None] = {}  # by text (None: flush) and voice


@functools.cache  # loading is slow, and an engine is as new when idle: that is part of what is tested
def make(slots: int) -> Engine:
    config = EngineConfig(slots=slots, workers=False, drafts=DraftMode.ON, sheds=False)
    return load_engine(BUNDLE, config, front_end=FRONT_END, drafter=NgramDrafter())


def alone(pieces: tuple[str | None, ...], voice: int) -> bytes | None:
    """What the text says alone; None when it is refused."""
    if (pieces, voice) not in ALONE:
        engine = make(1)
        engine.submit(Submit(request_id="x", voice=BUNDLE.voices[voice].id, seed=1))
        for piece in pieces:
            engine.submit(Flush(request_id="x") if piece is None else Append(request_id="x", text=piece))
        engine.submit(EndText(request_id="x"))
        events: list[Event] = []
        while engine.has_work:
            events += engine.step()
        refused = any(isinstance(event, Failed) for event in events)
        ALONE[pieces, voice] = None if refused else heard(events, "x")
    return ALONE[pieces, voice]


def heard(events: list[Event], name: str) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, Chunk) and event.request_id == name)


class Streams(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = make(4)
        self.texts: dict[str, list[str | None]] = {}
        self.voices: dict[str, int] = {}
        self.ended: set[str] = set()
        self.paused: set[str] = set()
        self.events: dict[str, list[Event]] = {}

    names = st.sampled_from(NAMES)

    @rule(name=names, voice=st.integers(0, 1), first=st.sampled_from(PIECES))
    def submit(self, name: str, voice: int, first: str) -> None:
        if name in self.texts:
            self.settle(1)  # it may be over by what is in the inbox
        self.engine.submit(Submit(request_id=name, voice=BUNDLE.voices[voice].id, seed=1))
        if name in self.texts:
            return  # the id is in use: refused, and the one who has it goes on
        self.texts[name], self.voices[name], self.events[name] = [], voice, []
        self.append(name, first)

    @rule(name=names, piece=st.sampled_from(PIECES))
    def append(self, name: str, piece: str) -> None:
        self.engine.submit(Append(request_id=name, text=piece))
        if name in self.texts and name not in self.ended:
            self.texts[name].append(piece)

    @rule(name=names)
    def flush(self, name: str) -> None:
        self.engine.submit(Flush(request_id=name))
        if name in self.texts and name not in self.ended:
            self.texts[name].append(None)

    @rule(name=names)
    def end(self, name: str) -> None:
        if name not in self.ended:
            self.engine.submit(EndText(request_id=name))
            if name in self.texts:
                self.ended.add(name)

    @rule(name=names, paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        self.engine.submit(SetPaused(request_id=name, paused=paused))

    @rule(name=names)
    def cancel(self, name: str) -> None:
        self.engine.submit(Cancel(request_id=name))

    @rule(steps=st.integers(1, 25))
    def settle(self, steps: int) -> None:
        for _ in range(steps):
            for event in self.engine.step():
                self.note(event)

    def note(self, event: Event) -> None:
        name = event.request_id
        if isinstance(event, Failed) and event.code == "invalid_parameter":
            return  # a second use of a name
        assert name in self.events, f"{event} after the end of {name}"
        self.events[name].append(event)
        if isinstance(event, Finished):
            text = tuple(self.texts[name])
            assert heard(self.events[name], name) == alone(text, self.voices[name])
        elif isinstance(event, Failed) and event.code == "unspeakable_text":
            assert alone(tuple(self.texts[name]), self.voices[name]) is None
        if isinstance(event, Finished | Failed | Cancelled):
            for known in (self.texts, self.voices, self.events):
                known.pop(name)
            self.ended.discard(name)

    @precondition(lambda self: len(self.events) > 0)
    @invariant()
    def pools_add_up(self) -> None:
        self.engine.check_integrity()

    def teardown(self) -> None:
        for name in list(self.texts):
            self.engine.submit(SetPaused(request_id=name, paused=False))
            if name not in self.ended:
                self.engine.submit(EndText(request_id=name))
        for _ in range(20_000):
            if not self.engine.has_work:
                break
            for event in self.engine.step():
                self.note(event)
        stats = self.engine.stats()
        assert not self.events, "everybody ends"
        assert (stats.running, stats.waiting) == (0, 0)
        self.engine.check_integrity()


TestStreams = Streams.TestCase
TestStreams.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
