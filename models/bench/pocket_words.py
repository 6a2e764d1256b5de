"""Words fed one by one against whole texts, byte by byte: python -m models.bench.pocket_words BUNDLE [TEXTS]

Each line of TEXTS (loadtests/openings.txt) is spoken twice beside others: whole, and a word in each round of the
engine. Prints what was compared, and ends with 1 where a byte differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from pathlib import Path

from engines.assemble import load_engine, open_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.messages import Append, Chunk, Command, EndText, Submit

_AT_ONCE = 8


def commands(name: str, text: str, voice: str, seed: int, rate_hz: int, *, by_word: bool) -> list[list[Command]]:
    """What is submitted in each round."""
    parts = [f"{word} " for word in text.split(" ")] if by_word else [text]
    parts[-1] = parts[-1].rstrip()
    begins = Submit(request_id=name, voice=voice, seed=seed, sample_rate_hz=rate_hz)
    rounds: list[list[Command]] = [[Append(request_id=name, text=part)] for part in parts]
    return [[begins, *rounds[0]], *rounds[1:], [EndText(request_id=name)]]


def spoken(engine: Engine, wanted: dict[str, list[list[Command]]]) -> dict[str, bytes]:
    """pcm by request, as many at once as there are slots."""
    waiting, feeding = deque(wanted.items()), dict[str, deque[list[Command]]]()
    pcm = {name: bytearray() for name in wanted}
    while waiting or feeding or not engine.empty:
        while waiting and len(engine.sequences) + len(feeding.keys() - engine.sequences.keys()) < _AT_ONCE:
            name, rounds = waiting.popleft()
            feeding[name] = deque(rounds)
        for name, left in [*feeding.items()]:
            for command in left.popleft():
                engine.submit(command)
            if not left:
                del feeding[name]
        for event in engine.step():
            if isinstance(event, Chunk):
                pcm[event.request_id] += event.pcm
    return {name: bytes(one) for name, one in pcm.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("texts", type=Path, nargs="?", default=Path("loadtests/openings.txt"))
    given = parser.parse_args()
    lines = given.texts.read_text("utf-8").splitlines()
    bundle, texts = open_bundle(given.bundle), [line.rpartition("\t")[2] for line in lines]
    engine = load_engine(bundle, EngineConfig(slots=_AT_ONCE, workers=False, sheds=False))
    rate_hz, voice, started_s = engine.spec.native_rate_hz, bundle.voices[0].id, time.process_time()
    found = [
        spoken(
            engine,
            {str(at): commands(str(at), text, voice, at, rate_hz, by_word=way) for at, text in enumerate(texts)},
        )
        for way in (False, True)
    ]
    unequal = [text for at, text in enumerate(texts) if found[0][str(at)] != found[1][str(at)]]
    silent = sum(not one for one in found[0].values())
    told = {
        "bundle": bundle.name,
        "texts": len(texts),
        "equal": len(texts) - len(unequal),
        "without_audio": silent,
        "audio_s": round(sum(map(len, found[0].values())) / 2 / rate_hz, 1),
        "cpu_s": round(time.process_time() - started_s, 1),
        "unequal": unequal,
    }
    print(json.dumps(told, indent=1))
    return 1 if unequal or silent else 0


if __name__ == "__main__":
    sys.exit(main())
