"""Codes of text that is not spoken: python -m models.teachers.kokoro.unspoken --listener FILE --out DIR

For the speech model alone, which wants far more speech than the codec does. A file for each block of a minute, written
beside its place and renamed: a kill loses the open block, several processes share the work, the same command goes on.
Each block names its encoder. `--pickle` gathers all of them in one file, as `models.train_lm --more` reads it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from engines.errors import UnspeakableText
from engines.text import FrontEnd
from models.code_files import Coded, read_codes, refuse_other_encoder, saying_refusals, write_codes
from models.codec import SAMPLES_PER_CODE
from models.framing import HOP
from models.lm_data import Example, example
from models.packages import cache_folder
from models.teacher.prepare import Utterance, trim_times, trimming
from models.teachers.kokoro.generate import claim, missing, parse_hours, plan, record
from models.teachers.kokoro.listener import Listener, heard, load_listener
from models.teachers.kokoro.phones import MAX_TOKENS, spell
from models.teachers.kokoro.prepare import audible_by_energy, read
from models.teachers.kokoro.speaker import Speaker
from models.teachers.kokoro.texts import Job, Texts
from models.voice_plan import NATURAL_WORK

HOURS = "af_heart:12,am_michael:8"
FIRST_BLOCK = 50_000  # none of these is spoken
BLOCK_S = 60.0


def coded(
    front_end: FrontEnd, speaker: Speaker, listener: Listener, job: Job, voice: str, number: int
) -> Example | None:
    """As `models.encode` makes it of speech; `number` of the voice. None for what is not worth training on."""
    try:
        spelling = spell(front_end, job.text)
    except UnspeakableText:
        return None
    if not 0 < len(spelling.symbols) <= MAX_TOKENS:
        return None
    thought = speaker.think(spelling.symbols, voice, 1 / job.stretch)
    times = read(record(job.text, job.stretch, spelling, thought, voice), audible_by_energy(thought.energy))
    trimmed = trim_times(times, trimming(times))
    if trimmed is None:
        return None
    start, samples, segments = trimmed
    utterance = Utterance(
        voice=voice,
        stretch=job.stretch,
        text=job.text,
        offset=0,
        samples=samples,
        segments=segments,
        words=times["words"],
    )
    codes = listener.codes(heard(thought, start, samples // HOP))
    assert len(codes) == samples // SAMPLES_PER_CODE, "utterances are whole codes"
    return example(utterance, codes, number)


def unspoken(
    hours: dict[str, float], folder: Path, speaker: Speaker, listener: Listener, encoder: str, texts: Texts
) -> bool:
    """Makes what is missing and no other process makes; says whether all blocks are there. `encoder` is the hash of the
    one whose codes the listener says."""
    folder.mkdir(parents=True, exist_ok=True)
    load_unspoken(folder, list(hours), encoder)
    front_end, voices, blocks = FrontEnd.load(), list(hours), plan(hours, folder, suffix="pkl")
    for block in missing(blocks):
        with claim(block) as ours:
            if not ours:
                continue
            jobs = texts.block(FIRST_BLOCK + block.number, BLOCK_S)
            made = [coded(front_end, speaker, listener, one, block.voice, voices.index(block.voice)) for one in jobs]
            examples = [one for one in made if one is not None]
            write_codes(block.path, Coded(encoder_sha256=encoder, examples=examples))
            if block.number % 30 == 0:
                print(f"block {block.number} of {len(blocks)}", flush=True)
    return not missing(blocks)


def load_unspoken(folder: Path, voices: list[str], encoder: str) -> Coded:
    """Of all blocks that are there, in their order. Those of another encoder are refused."""
    found: list[Example] = []
    for path in sorted(folder.glob("*.pkl")):
        if path.stem.partition("-")[2] in voices:
            coded = read_codes(path)
            refuse_other_encoder(path, coded.encoder_sha256, encoder, "the listener")
            found += coded.examples
    return Coded(encoder_sha256=encoder, examples=found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listener", type=Path, required=True, help="what models.teachers.kokoro.train_listener wrote")
    parser.add_argument("--out", type=Path, default=NATURAL_WORK / "unspoken", help="a folder for the blocks")
    parser.add_argument("--pickle", type=Path, help="when all blocks are there: one file for models.train_lm --more")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--hours", default=HOURS, help="hours of each voice, in the order of the codec")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (listener, encoder), hours = load_listener(arguments.listener), parse_hours(arguments.hours)
    if not unspoken(hours, arguments.out, Speaker(arguments.packages), listener, encoder, Texts()):
        sys.exit(f"{arguments.out} lacks blocks that another process still makes; run this again when it ends")
    if arguments.pickle is not None:
        write_codes(arguments.pickle, load_unspoken(arguments.out, list(hours), encoder))


if __name__ == "__main__":
    saying_refusals(main)
