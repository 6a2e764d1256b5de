"""Hours of Kokoro's speech, made in the background: python -m models.teachers.kokoro.generate --out DIR

Speech comes in blocks of about a minute, one file each, written beside its place and renamed: a kill at any moment
loses one block at most, and the same command goes on. Several processes share the work, one block each; voices
alternate by their hours, so that whatever exists is balanced, and blocks made for other hours count. A block holds what
the graph gave; phone times and pitch are made of it later (`models.teachers.kokoro.prepare`).
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import UnspeakableText
from engines.text import FrontEnd
from models.packages import cache_folder
from models.teachers.kokoro.phones import MAX_TOKENS, Spelling, is_stressed, spell
from models.teachers.kokoro.speaker import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, Prosody, Speaker
from models.teachers.kokoro.texts import Texts
from models.whole_files import replace_file

BLOCK_S = 60.0
HOURS = "af_heart:3,am_michael:2"
FREE_BYTES = 2_000_000_000  # of the disk, left to others


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    number: int
    voice: str
    folder: Path
    suffix: str = "npz"

    @property
    def path(self) -> Path:
        return self.folder / f"{self.number:05d}-{self.voice}.{self.suffix}"


def blocks_of(hours: float) -> int:
    return max(1, round(hours * 3600 / BLOCK_S))


def plan(hours: dict[str, float], folder: Path, suffix: str = "npz") -> list[Block]:
    """All blocks; at each place the voice that is furthest behind its share."""
    wanted = {voice: blocks_of(some) for voice, some in hours.items()}
    made = dict.fromkeys(hours, 0)
    blocks = []
    for number in range(sum(wanted.values())):
        voice = min(hours, key=lambda one: (made[one] / wanted[one], -wanted[one]))
        made[voice] += 1
        blocks.append(Block(number=number, voice=voice, folder=folder, suffix=suffix))
    return blocks


def missing(blocks: list[Block]) -> list[Block]:
    """What is still to be made of a plan. A voice that has enough blocks lacks none, whatever their numbers: those of
    other plans count. Processes that share the work find the same blocks, less those that are done."""
    lacking = Counter(block.voice for block in blocks)
    for voice in lacking:
        lacking[voice] -= len(list(blocks[0].folder.glob(f"*-{voice}.{blocks[0].suffix}")))
    found = []
    for block in blocks:
        if lacking[block.voice] > 0 and not block.path.exists():
            lacking[block.voice] -= 1
            found.append(block)
    return found


@contextmanager
def claim(block: Block) -> Iterator[bool]:
    """Whether the block is ours to make. The lock is the operating system's, so it ends with the process."""
    lock = open(block.path.with_suffix(".lock"), "w")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        yield False
        return
    try:
        yield not block.path.exists()
    finally:
        block.path.with_suffix(".lock").unlink(missing_ok=True)
        lock.close()


def record(text: str, stretch: float, spelling: Spelling, spoken: Prosody, voice: str) -> dict[str, object]:
    """What is known of one utterance, beside its arrays."""
    return {
        "voice": voice,
        "stretch": stretch,
        "text": text,
        "symbols": spelling.symbols,
        "owner": spelling.owner,
        "frames": spoken.frames.tolist(),
        "phones": [
            [one.symbol, int(is_stressed(one)), int(one.starts_word), int(one.pause or 0)] for one in spelling.phones
        ],
        "samples": SAMPLES_PER_FRAME * int(spoken.frames.sum()),
    }


def make(block: Block, speaker: Speaker, front_end: FrontEnd, texts: Texts, seconds: float = BLOCK_S) -> float:
    """Writes one block; returns its seconds of speech."""
    records, samples, prosody = [], [], []
    for job in texts.block(block.number, seconds):
        try:
            spelling = spell(front_end, job.text)
        except UnspeakableText:
            continue
        if not 0 < len(spelling.symbols) <= MAX_TOKENS:
            continue
        spoken = speaker.say(spelling.symbols, block.voice, 1 / job.stretch)
        records.append(record(job.text, job.stretch, spelling, spoken, block.voice))
        samples.append(spoken.samples)
        prosody.append(np.stack([spoken.f0_hz, spoken.energy], axis=1).astype(np.float16))
    packed = io.BytesIO()
    index = np.frombuffer(json.dumps(records).encode(), np.uint8)
    np.savez(packed, samples=np.concatenate(samples), prosody=np.concatenate(prosody), index=index)
    replace_file(block.path, packed.getvalue())
    return sum(len(one) for one in samples) / SAMPLE_RATE_HZ


def load(path: Path) -> Iterator[tuple[dict[str, object], np.ndarray, np.ndarray]]:
    """Record, samples [S] int16 at 24 kHz and prosody [2 S / 600, F0 and energy] of each utterance of a block."""
    with np.load(path) as packed:
        samples, prosody = packed["samples"], packed["prosody"]
        records = json.loads(packed["index"].tobytes())
    at = of_prosody = 0
    for one in records:
        count, values = one["samples"], one["samples"] // 300
        yield one, samples[at : at + count], prosody[of_prosody : of_prosody + values].astype(np.float32)
        at, of_prosody = at + count, of_prosody + values


def generate(hours: dict[str, float], folder: Path, packages: Path, budget_bytes: int) -> bool:
    """Makes what is missing and no other process makes; says whether all blocks are there."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = plan(hours, folder)
    if not (lacking := missing(blocks)):
        return True
    speaker, front_end, texts = Speaker(packages), FrontEnd.load(), Texts()
    for block in lacking:
        if block.path.exists():
            continue
        held = sum(path.stat().st_size for path in folder.glob("*.npz"))
        if held > budget_bytes or shutil.disk_usage(folder).free < FREE_BYTES:
            _log(folder, f"stopped: {held / 1e9:.2f} GB of {budget_bytes / 1e9:.2f} GB are used, or the disk is full")
            return False
        with claim(block) as ours:
            if not ours:
                continue
            wall_s, cpu_s = time.monotonic(), time.process_time()
            seconds = make(block, speaker, front_end, texts)
            wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
            done = len(blocks) - (left := len(missing(blocks)))
            left_h = left * cpu_s / 3600
            _log(
                folder,
                f"block {block.number} {block.voice}: {seconds:.0f} s of speech, {cpu_s / seconds:.2f} CPU s and "
                f"{wall_s / seconds:.2f} s each; {done} of {len(blocks)} blocks, {left_h:.1f} CPU hours left",
            )
    left = len(missing(blocks))
    _log(folder, f"{left} blocks are made by another process" if left else "all blocks are there")
    return not left


def _log(folder: Path, line: str) -> None:
    with open(folder / "progress.log", "a") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    print(line, flush=True)


def parse_hours(text: str) -> dict[str, float]:
    return {part.split(":")[0]: float(part.split(":")[1]) for part in text.split(",")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=cache_folder() / "voice-kokoro" / "speech")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--hours", default=HOURS, help="hours of each voice")
    parser.add_argument("--disk-gb", type=float, default=4.0, help="stop when the speech takes so much")
    arguments = parser.parse_args()
    generate(parse_hours(arguments.hours), arguments.out, arguments.packages, round(arguments.disk_gb * 1e9))


if __name__ == "__main__":
    main()
