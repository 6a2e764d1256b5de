"""Writes the pronunciation data of the text front end from the teacher's own lexicon, letter rules and word classes.

    python -m models.teacher.build_lexicon --program work/teacher/lexicon_dump --words /usr/share/dict/words

`program` is the compiled `lexicon_dump.c`. The lexicon leaves out every word that the letter rules already say right,
so both are needed for any word. `words` (one a line, repeatable) are candidates for the held-out test of the letter
rules: those that the lexicon lacks are kept, and some more are invented by changing letters.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "engines" / "text" / "data"
HELD_OUT = ROOT / "tests" / "text" / "held_out_words.txt.xz"
SENTENCES = ROOT / "tests" / "text" / "sentences.txt"
SENTENCE_PHONES = ROOT / "tests" / "text" / "sentence_phones.txt"
HELD_OUT_WORDS = 6_000
INVENTED_SHARE = 3  # one held-out word in so many is invented
TAGS = ("n", "v", "j", "r", "0")  # what the part-of-speech tree can answer
_SPELLING = re.compile(r"[a-z_][a-z]*")


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress("\n".join(lines).encode() + b"\n", preset=9 | lzma.PRESET_EXTREME))


class Dump:
    """The compiled dump program."""

    def __init__(self, program: Path) -> None:
        self._program = str(program.resolve())

    def lines(self, what: str, given: str = "") -> list[str]:
        ran = subprocess.run([self._program, what], input=given.encode(), capture_output=True, check=True)
        return ran.stdout.decode("latin-1").splitlines()

    def look_up(self, words: list[str], tag: str = "") -> list[tuple[bool, str]]:
        """For each word whether the lexicon lists it, and its phones."""
        asked = "\n".join(f"{word}\t{tag}" if tag else word for word in words) + "\n"
        rows = [line.split("\t") for line in self.lines("lookup", asked)]
        return [(known == "1", phones) for _, _, known, phones in rows]


def lexicon_lines(dump: Dump) -> list[str]:
    """ "word phones", and "word/tag phones" where a part of speech is pronounced otherwise; sorted."""
    words = sorted({entry[1:] for entry in dump.lines("entries") if _SPELLING.fullmatch(entry[1:])})
    plain = dump.look_up(words)
    lines = [f"{word} {phones}" for word, (_, phones) in zip(words, plain, strict=True)]
    for tag in TAGS:
        tagged = dump.look_up(words, tag)
        for word, (_, usual), (_, phones) in zip(words, plain, tagged, strict=True):
            if phones != usual:
                lines.append(f"{word}/{tag} {phones}")
    return sorted(lines)


def held_out_lines(dump: Dump, candidates: list[str], seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    real = sorted({word.lower() for word in candidates if re.fullmatch(r"[A-Za-z]{2,24}", word)})
    invented = sorted({_change(word, rng) for word in real})
    chosen: set[str] = set()
    for pool, share in ((invented, HELD_OUT_WORDS // INVENTED_SHARE), (real, HELD_OUT_WORDS)):
        unknown = [
            f"{word} {phones}"
            for word, (known, phones) in zip(pool, dump.look_up(pool), strict=True)
            if not known and phones
        ]
        chosen.update(rng.sample(unknown, min(share - len(chosen), len(unknown))))
    return sorted(chosen)


def sentence_lines(speaker: Path, sentences: list[str]) -> list[str]:
    """What the teacher says: phones with a stress digit, "|" before each word."""
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index.jsonl"
        jobs = "".join(f"kal16\t1.0\t{sentence}\n" for sentence in sentences)
        program = [str(speaker.resolve()), str(Path(folder) / "samples.pcm"), str(index)]
        subprocess.run(program, input=jobs.encode(), check=True, capture_output=True)
        records = [json.loads(line) for line in index.read_text().splitlines()]
    lines = []
    for record in records:
        parts, last_word = [], -1
        for phone, _, stress, word, _ in record["segments"]:
            parts += ["|"] if word >= 0 and word != last_word else []
            parts.append(f"{phone}{stress}")
            last_word = word
        lines.append(" ".join(parts))
    return lines


def _change(word: str, rng: random.Random) -> str:
    """A plausible invention: one letter becomes another of its kind."""
    position = rng.randrange(len(word))
    kind = "aeiou" if word[position] in "aeiou" else "bcdfghjklmnprstvwz"
    return word[:position] + rng.choice(kind) + word[position + 1 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--words", type=Path, action="append", required=True)
    parser.add_argument("--speaker", type=Path, help="compiled flite_speak.c; renews the phones of the test sentences")
    arguments = parser.parse_args()
    dump = Dump(arguments.program)
    write(DATA / "lexicon.txt.xz", lexicon_lines(dump))
    write(DATA / "letter_rules.txt.xz", dump.lines("letters"))
    write(DATA / "word_tags.txt.xz", dump.lines("tags"))
    candidates = [line.strip() for path in arguments.words for line in path.read_text(errors="ignore").splitlines()]
    write(HELD_OUT, held_out_lines(dump, candidates))
    if arguments.speaker is not None:
        spoken = sentence_lines(arguments.speaker, SENTENCES.read_text().splitlines())
        SENTENCE_PHONES.write_text("\n".join(spoken) + "\n")


if __name__ == "__main__":
    main()
