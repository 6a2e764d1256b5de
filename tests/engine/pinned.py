"""Forty utterances whose bytes are pinned, and the table of their hashes by kind of kernels.

    python -m tests.engine.pinned --write      adds or replaces the hashes of this machine's kinds

A kind is the form of the kernels, the processor's instruction class and the runtime's version: other kinds have other
low bits. A change that moves code must leave every hash as it is; a change of what is spoken writes the table anew and
says so.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.common.voice_mix import Timbre
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.messages import Append, Chunk, EndText, Event, Finished, LeadingSilence, Submit, options
from engines.runtime.kernels import FORMS, OFF, runs
from tests.engine.driving import settle

TABLE = Path(__file__).with_name("pinned.json")
TEXTS = (
    "Yes.",
    "Hello there, how are you today?",
    "The quick brown fox jumps over the lazy dog, and nobody minds.",
    "I waited for an hour. Then she came, smiled, and said: let us go!",
    "Would you like three cups of tea, or nothing at all?",
    "It was a bright cold day in April, and the clocks were striking thirteen.",
    "Please hold the line while I look for your order in our books; it will not take long.",
    "Fresh vegetables, a loaf of bread, half a pound of butter, and some very old cheese.",
)
VOICES: tuple[tuple[str, Timbre], ...] = (
    ("rms", ()),
    ("slt", ()),
    ("awb", ()),
    ("kal16", ()),
    ("rms", (("rms", 2 / 3), ("slt", 1 / 3))),
    ("slt", (("awb", 0.5), ("kal16", 0.5))),
)
MANNERS = ((1.0, None, 0.0, 24_000), (0.8, 0.0, 0.0, 24_000), (1.25, 0.8, 3.0, 16_000), (1.0, 0.4, -5.0, 8_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    text: str
    voice: str
    timbre: Timbre
    speed: float
    temperature: float | None
    pitch_semitones: float
    rate_hz: int
    seed: int
    by_words: bool

    @property
    def name(self) -> str:
        parts = (self.voice, *(f"{voice}*{share:.2f}" for voice, share in self.timbre))
        fed = "words" if self.by_words else "whole"
        manner = f"speed {self.speed} temperature {self.temperature} pitch {self.pitch_semitones:g}"
        return f"{self.text[:16]} | {'+'.join(parts)} | {manner} | {self.rate_hz} Hz | seed {self.seed} | {fed}"


class Hashes(TypedDict):
    """sha256, the first 32 digits."""

    pcm: str  # s16le
    words: str  # (start_s, end_s, start_char, end_char) of each


def utterances() -> list[Utterance]:
    """Each text five times, each time in another voice and manner; every third one is fed word by word."""
    found = []
    for number, (round_, text) in enumerate(itertools.product(range(5), TEXTS)):
        voice, timbre = VOICES[number % len(VOICES)]
        speed, temperature, pitch, rate_hz = MANNERS[(number + round_) % len(MANNERS)]
        found.append(
            Utterance(
                text=text,
                voice=voice,
                timbre=timbre,
                speed=speed,
                temperature=temperature,
                pitch_semitones=pitch,
                rate_hz=rate_hz,
                seed=100 + number,
                by_words=number % 3 == 0,
            )
        )
    return found


def kind(engine: Engine) -> str:
    return engine.stats().arithmetic


def hash_all(engine: Engine) -> dict[str, Hashes]:
    """Speaks all of them, eight at a time."""
    found: dict[str, Hashes] = {}
    todo = utterances()
    for start in range(0, len(todo), 8):
        batch = todo[start : start + 8]
        for one in batch:
            _submit(engine, one)
        events = settle(engine)
        for one in batch:
            found[one.name] = _hashes([event for event in events if event.request_id == one.name])
    engine.check_integrity()
    return found


def _submit(engine: Engine, one: Utterance) -> None:
    engine.submit(
        Submit(
            request_id=one.name,
            voice=one.voice,
            seed=one.seed,
            sample_rate_hz=one.rate_hz,
            leading_silence=LeadingSilence.KEEP,  # so that the opening is pinned too
            options=options(
                timbre=one.timbre, speed=one.speed, temperature=one.temperature, pitch_semitones=one.pitch_semitones
            ),
        )
    )
    words = one.text.split(" ")
    pieces = [word + " " for word in words[:-1]] + words[-1:] if one.by_words else [one.text]
    for piece in pieces:
        engine.submit(Append(request_id=one.name, text=piece))
    engine.submit(EndText(request_id=one.name))


def _hashes(events: list[Event]) -> Hashes:
    assert any(isinstance(event, Finished) for event in events), events
    pcm, words = hashlib.sha256(), hashlib.sha256()
    for event in events:
        if isinstance(event, Chunk):
            pcm.update(event.pcm)
            for word in event.words:
                words.update(f"{word.start_s:.4f} {word.end_s:.4f} {word.start_char} {word.end_char}\n".encode())
    return Hashes(pcm=pcm.hexdigest()[:32], words=words.hexdigest()[:32])


def engines_of_all_kinds(bundle: Bundle) -> list[Engine]:
    """One engine for each kind of kernels that this machine runs."""
    kinds = [*(form for form in FORMS if runs(form)), OFF]
    return [load_engine(bundle, EngineConfig(slots=12, workers=False, own_kernels=one, sheds=False)) for one in kinds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the hashes of this machine's kinds")
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    write = parser.parse_args().write
    for engine in engines_of_all_kinds(load_bundle(Path("flite"))):
        found, known = hash_all(engine), table.get(kind(engine), {})
        changed = [name for name, hashes in found.items() if known.get(name) != hashes]
        print(f"{kind(engine)}: {len(changed)} of {len(found)} differ from the table")
        table[kind(engine)] = found
        engine.close()
    if write:
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
