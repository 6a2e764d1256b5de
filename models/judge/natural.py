"""Kokoro's voice on lists that training never sees: python -m models.judge.natural --codec FILE [--bundle DIR]

The teacher speaks the everyday and Harvard sentences once, with phone times; what follows is measured beside it on
the same sentences: the codec's resynthesis with the pitch that the decoder chooses, and with `--bundle` our speech from
text. The gate of the codec is what `resynthesis` has to reach. All sides get equal silence at their ends, which moves
even the teacher's P.808 between 3.8 and 4.15.
"""

from __future__ import annotations

import argparse
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pystoi import stoi
from rich.console import Console
from rich.table import Table

import engines.runtime.ort  # noqa: F401  # before speechmos, which would import the runtime with its telemetry on
from engines.text import FrontEnd
from models.codec import Codec
from models.encode import load_codec
from models.framing import HOP, LOOK_BACK, SAMPLE_RATE_HZ
from models.judge.meters import Heard, Meters, compare, even_ends
from models.packages import cache_folder
from models.seen_phones import phone_times
from models.teacher.prepare import Utterance, load
from models.teachers.kokoro.generate import record
from models.teachers.kokoro.phones import spell
from models.teachers.kokoro.prepare import write
from models.teachers.kokoro.speaker import Speaker
from models.whole_files import replace_file

LISTS = Path(__file__).parent / "lists"
GENERAL = ("everyday", "harvard")
WORDS_ABOVE, P808, STOI = 0.03, 3.75, 0.90  # the codec's gate: word errors above the teacher's, at least, at least
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """The teacher's rendering of the lists, prepared as training data is."""

    utterances: list[Utterance]
    samples: list[Samples]
    f0_hz: list[NDArray[np.float32]]


def teacher_speech(folder: Path, voice: str, packages: Path, stretch: float = 1.0) -> Spoken:
    """Spoken once and kept in `folder`, which holds one tempo."""
    if not (folder / f"{voice}.done").exists():
        texts = [line for name in GENERAL for line in (LISTS / f"{name}.txt").read_text().splitlines()]
        speaker, front_end = Speaker(packages), FrontEnd.load()
        rendered = []
        for text in texts:
            spelling = spell(front_end, text)
            spoken = speaker.say(spelling.symbols, voice, 1 / stretch)
            rendered.append((record(text, stretch, spelling, spoken, voice), spoken.samples, spoken.f0_hz))
        write(folder, voice, rendered)
        (folder / f"{voice}.done").touch()
    utterances, pcm, f0 = load(folder, voice)
    cuts = [slice(one.offset, one.offset + one.samples) for one in utterances]
    return Spoken(
        utterances=utterances,
        samples=[np.array(pcm[cut]) for cut in cuts],
        f0_hz=[np.array(f0[cut.start // HOP : cut.stop // HOP]) for cut in cuts],
    )


@torch.no_grad()
def resynthesised(codec: Codec, spoken: Spoken, speaker: int) -> list[Samples]:
    """Each as long as the teacher's, which it begins with."""
    torch.manual_seed(0)
    found = []
    for one, samples, f0_hz in zip(spoken.utterances, spoken.samples, spoken.f0_hz, strict=True):
        wave, voice = torch.tensor(samples).float()[None] / 32768, torch.tensor([speaker])
        values, _ = codec.encode(wave, torch.tensor(f0_hz)[None], voice)
        seen = torch.tensor(phone_times(one).seen(0, values.shape[1]))[None]
        ours, _, _ = codec.decoder.speak(values, voice, seen)
        pcm = np.clip(np.round(ours[0, LOOK_BACK:].numpy() * 32768), -32768, 32767).astype(np.int16)
        found.append(pcm[: len(samples)])
    return found


def intelligibility(ours: list[Samples], theirs: list[Samples]) -> float:
    """Mean STOI of renderings that begin together (Taal et al. 2011)."""
    pairs = [(one[: len(other)], other[: len(one)]) for one, other in zip(ours, theirs, strict=True)]
    return float(np.mean([stoi(other.astype(float), one.astype(float), SAMPLE_RATE_HZ) for one, other in pairs]))


def from_text(bundle: Path, texts: list[str], voice: str) -> list[Samples]:
    from engines.assemble import load_engine
    from engines.config import EngineConfig
    from engines.families.phone_pointer.bundle import load_bundle
    from engines.synth import speak

    engine = load_engine(load_bundle(bundle), EngineConfig(workers=False))
    rendered = [speak(engine, text, voice=voice, seed=1, sample_rate_hz=SAMPLE_RATE_HZ).pcm for text in texts]
    engine.close()
    return [np.frombuffer(pcm, np.int16) for pcm in rendered]


def listen(meters: Meters, texts: list[str], samples: list[Samples], name: str) -> Heard:
    return meters.listen(texts, [even_ends(one) for one in samples], name)


def _heard_once(meters: Meters, path: Path, texts: list[str], samples: list[Samples]) -> Heard:
    if not path.exists():
        replace_file(path, pickle.dumps(listen(meters, texts, samples, "the teacher")))
    heard: Heard = pickle.loads(path.read_bytes())
    return heard


def of_bundle(meters: Meters, bundle: Path, voice: str, lists: Path, packages: Path) -> dict[str, dict[str, float]]:
    """Our speech from text beside the teacher's: figures of `ours` and `teacher`."""
    spoken = teacher_speech(lists, voice, packages)
    texts = [one.text for one in spoken.utterances]
    teacher = _heard_once(meters, lists / f"{voice}.heard", texts, spoken.samples)
    return compare(listen(meters, texts, from_text(bundle, texts, voice), "our voice"), teacher)


def passes(ours: dict[str, float], teacher: dict[str, float]) -> bool:
    return ours["wer"] <= teacher["wer"] + WORDS_ABOVE and ours["p808"] >= P808 and ours["stoi"] >= STOI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--voices", default="af_heart,am_michael", help="in the order of the codec's")
    parser.add_argument("--only", help="of these voices")
    parser.add_argument("--lists", type=Path, default=cache_folder() / "voice-kokoro" / "lists")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    meters, figures = Meters.load(), {}
    for speaker, voice in enumerate(arguments.voices.split(",")):
        if arguments.only and voice not in arguments.only.split(","):
            continue
        spoken = teacher_speech(arguments.lists, voice, arguments.packages)
        texts = [one.text for one in spoken.utterances]
        teacher = _heard_once(meters, arguments.lists / f"{voice}.heard", texts, spoken.samples)
        figures[f"{voice} teacher"] = teacher.figures
        if arguments.codec:
            ours = resynthesised(load_codec(arguments.codec), spoken, speaker)
            row = compare(listen(meters, texts, ours, "resynthesis"), teacher)["ours"]
            row["stoi"] = intelligibility(ours, spoken.samples)
            row["passes"] = float(passes(row, teacher.figures))
            figures[f"{voice} resynthesis"] = row
        if arguments.bundle:
            of_voice = of_bundle(meters, arguments.bundle, voice, arguments.lists, arguments.packages)
            figures[f"{voice} from text"] = of_voice["ours"]
    columns = list(dict.fromkeys(name for row in figures.values() for name in row))
    table = Table("what", *columns)
    for what, row in figures.items():
        table.add_row(what, *(f"{row[name]:.3f}" if name in row else "" for name in columns))
    Console(width=160).print(table)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
