"""Phone times of text that is not spoken: python -m models.teachers.kokoro.times --out DIR

Durations learn from phones and times alone, and the graph cut before its vocoder gives them at a tenth of the cost of
speech. Lines come in blocks, each with short answers beside its minute of text; a kill loses the open block, and
the same command goes on. Voices alternate, so that whatever exists is balanced.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from engines.errors import UnspeakableText
from engines.text import FrontEnd
from models.packages import cache_folder
from models.teachers.kokoro.generate import blocks_of, parse_hours, plan, record
from models.teachers.kokoro.phones import MAX_TOKENS, spell
from models.teachers.kokoro.prepare import audible_by_energy, read
from models.teachers.kokoro.speaker import Speaker
from models.teachers.kokoro.texts import Texts
from models.voice_plan import NATURAL_WORK

HOURS = "af_heart:6,am_michael:4"
FIRST_BLOCK = 100_000  # none of these is spoken
VOICE_BLOCKS = 10_000  # between the first blocks of two voices
BLOCK_S = 60.0
SHORT = 12  # answers of a few words in each block
ODD = 8  # texts in each block that are no sentences


def timed(front_end: FrontEnd, speaker: Speaker, text: str, stretch: float, voice: str) -> dict[str, Any] | None:
    """A record as `models.teacher.timed` reads it; None for what cannot be spoken at once."""
    try:
        spelling = spell(front_end, text)
    except UnspeakableText:
        return None
    if not 0 < len(spelling.symbols) <= MAX_TOKENS:
        return None
    planned = speaker.plan(spelling.symbols, voice, 1 / stretch)
    return read(record(text, stretch, spelling, planned, voice), audible_by_energy(planned.energy))


def whole_blocks(path: Path) -> int:
    """Drops what is behind the last whole block; returns how many there are."""
    if not path.exists():
        return 0
    lines = path.read_text().splitlines(keepends=True)
    ends = [at + 1 for at, line in enumerate(lines) if line.endswith("\n") and json.loads(line).get("closes_block")]
    path.write_text("".join(lines[: ends[-1]] if ends else []))
    return len(ends)


def times(folder: Path, hours: dict[str, float], speaker: Speaker, texts: Texts) -> None:
    """Writes `folder`/voice.jsonl of each voice."""
    folder.mkdir(parents=True, exist_ok=True)
    front_end, numbers = FrontEnd.load(), {voice: number for number, voice in enumerate(hours)}
    made = {voice: whole_blocks(folder / f"{voice}.jsonl") for voice in hours}
    passed = dict.fromkeys(hours, 0)
    for voice in (block.voice for block in plan(hours, folder)):
        place, passed[voice] = passed[voice], passed[voice] + 1
        if place < made[voice]:
            continue
        started_s = time.process_time()
        number = FIRST_BLOCK + numbers[voice] * VOICE_BLOCKS + place
        jobs = [*texts.block(number, BLOCK_S), *texts.short(number, SHORT), *texts.odd(number, ODD)]
        found = [one for job in jobs if (one := timed(front_end, speaker, job.text, job.stretch, voice))]
        found[-1]["closes_block"] = True
        with (folder / f"{voice}.jsonl").open("a") as file:
            file.writelines(json.dumps(one) + "\n" for one in found)
        if place % 10 == 0:
            spent_s = time.process_time() - started_s
            print(f"{voice}: block {place} of {blocks_of(hours[voice])}, {spent_s:.1f} CPU s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=NATURAL_WORK / "times")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--hours", default=HOURS, help="hours of each voice")
    arguments = parser.parse_args()
    times(arguments.out, parse_hours(arguments.hours), Speaker(arguments.packages), Texts())


if __name__ == "__main__":
    main()
