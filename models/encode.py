"""Turns prepared speech into codes and LM examples: python -m models.encode --data DIR --codec FILE --out FILE

Only codes, phones and their ends are kept: some 520 bytes a second of speech. The file names the encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from models.code_files import Coded, saying_refusals, write_codes
from models.codec import Codec
from models.encoder_hash import encoder_sha256
from models.framing import HOP
from models.lm_data import Example, example
from models.teacher.prepare import load


@torch.no_grad()
def encode(folder: Path, codec: Codec, voices: list[str], part: slice = slice(None)) -> list[Example]:
    """Examples of all voices, in order; `part` picks utterances (for several processes at once)."""
    examples = []
    for speaker, voice in enumerate(voices):
        utterances, pcm, f0 = load(folder, voice)
        for one in track(utterances[part], description=f"encoding {voice}"):
            samples = torch.tensor(np.array(pcm[one.offset : one.offset + one.samples])).float()[None] / 32768
            pitch = torch.tensor(np.array(f0[one.offset // HOP : (one.offset + one.samples) // HOP]))[None]
            _, codes = codec.encode(samples, pitch, torch.tensor([speaker]))
            examples.append(example(one, codes[0].numpy(), speaker))
    return examples


def load_codec(path: Path) -> Codec:
    saved = torch.load(path, weights_only=False)["network"]
    seen = saved.get("decoder.seen.weight", ())
    codec = Codec(saved["decoder.voice.weight"].shape[0], len(seen))
    codec.load_state_dict(saved)
    return codec.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--voices", default="rms,slt")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    codec = load_codec(arguments.codec)
    examples = encode(arguments.data, codec, arguments.voices.split(","))
    write_codes(arguments.out, Coded(encoder_sha256=encoder_sha256(codec), examples=examples))
    hours = sum(len(one.codes) for one in examples) / 25 / 3600
    print(f"{len(examples)} utterances, {hours:.2f} h")


if __name__ == "__main__":
    saying_refusals(main)
