"""A page to hear Kokoro's voices by: python -m models.judge.natural_listening --codec FILE [--bundle DIR] --out DIR

For each voice some sentences that training never sees: the teacher, the codec's resynthesis with the pitch that the
decoder chooses, and with a bundle our own speech from text.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from models.encode import load_codec
from models.judge.listening import page, section
from models.judge.natural import Samples, from_text, resynthesised, teacher_speech
from models.packages import cache_folder

SENTENCES = 2  # of each list's beginning and end


def write(codec: Path, bundle: Path | None, voices: list[str], lists: Path, packages: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    network, sections, lines = load_codec(codec), list[str](), list[str]()
    for speaker, voice in enumerate(voices):
        spoken = teacher_speech(lists, voice, packages)
        chosen = [*range(SENTENCES), *range(len(spoken.utterances) - SENTENCES, len(spoken.utterances))]
        some = replace(
            spoken,
            utterances=[spoken.utterances[at] for at in chosen],
            samples=[spoken.samples[at] for at in chosen],
            f0_hz=[spoken.f0_hz[at] for at in chosen],
        )
        texts = [one.text for one in some.utterances]
        sides: dict[str, list[Samples]] = {"the teacher": some.samples}
        sides["the teacher through our codes"] = resynthesised(network, some, speaker)
        if bundle is not None:
            sides["parlando, from text"] = from_text(bundle, texts, voice)
        for at, text in enumerate(texts):
            rows = {name: samples[at] for name, samples in sides.items()}
            files = {name: f"{voice}-{at}-{part}.ogg" for part, name in enumerate(rows)}
            sections.append(section(out, f"{voice} {at}", text, rows, files))
            lines += [f"| {voice} | {text} | [{name}]({file}) |" for name, file in files.items()]
    page(out, "The natural voice", "Sentences that no training has seen.", sections)
    written = [
        "# The natural voice, to listen to",
        "",
        "Made by `python -m models.judge.natural_listening`, of sentences that no training has seen. The teacher is",
        "Kokoro-82M. Open `index.html` in a browser for players and spectrograms; figures are in the",
        "[model card](../natural.md). Speech through our codes lacks the rule of creak that a bundle's vocoder has",
        "([record 27](../../decisions/0027-creak-is-pulses.md)).",
        "",
        "| voice | sentence | file |",
        "|---|---|---|",
        *lines,
    ]
    (out / "README.md").write_text("\n".join(written) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, required=True, help="a codec or a decoder after the discriminator")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--voices", default="af_heart,am_michael", help="in the order of the codec's")
    parser.add_argument("--lists", type=Path, default=cache_folder() / "voice-kokoro" / "lists")
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    write(chosen.codec, chosen.bundle, chosen.voices.split(","), chosen.lists, chosen.packages, chosen.out)


if __name__ == "__main__":
    main()
