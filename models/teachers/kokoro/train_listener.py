"""Trains the listener on speech that exists: python -m models.teachers.kokoro.train_listener --codec FILE --out FILE

Same habits as the codec: budget in steps or CPU time, a checkpoint each minute, `--resume`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from models.arithmetic import FLOAT32, Arithmetic, quicker
from models.checkpoint import TrainingState
from models.code_files import saying_refusals
from models.codec import FRAMES_PER_CODE, SAMPLES_PER_CODE, Codec
from models.encode import load_codec
from models.encoder_hash import encoder_sha256
from models.framing import HOP
from models.packages import cache_folder
from models.teachers.kokoro.generate import load
from models.teachers.kokoro.listener import Listener, agreement, heard
from models.teachers.kokoro.prepare import trimmed
from models.teachers.kokoro.speaker import Speaker
from models.training_loop import train

BLOCKS = 60  # an hour
CROP_CODES = 32
HELD_OUT_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One utterance: what the listener takes in of it [4 N, WIDTH], float16, and the encoder's levels [N, 4]."""

    seen: Tensor
    levels: Tensor


@torch.no_grad()
def pairs(blocks: list[Path], speaker: Speaker, codec: Codec, voices: list[str]) -> list[Pair]:
    """The speaker says the same again without its vocoder, since a block keeps no states."""
    found = []
    for path in track(blocks, description="listening"):
        for record, samples, prosody in load(path):
            one = trimmed((record, samples, prosody[:, 0]))
            if one is None or len(one.samples) < CROP_CODES * SAMPLES_PER_CODE:
                continue
            voice = str(record["voice"])
            thought = speaker.think(str(record["symbols"]), voice, 1 / float(str(record["stretch"])))
            if thought.frames.tolist() != record["frames"]:
                raise ValueError(f"{path} was spoken by another speaker: it says {record['text']!r} in other frames")
            wave, f0_hz = torch.from_numpy(one.samples).float()[None] / 32768, torch.from_numpy(one.f0_hz)[None]
            latent = codec.latent(wave, f0_hz, torch.tensor([voices.index(voice)]))
            seen = torch.from_numpy(heard(thought, one.start, len(one.samples) // HOP))
            found.append(Pair(seen=seen.half(), levels=codec.decoder.quantiser.levels(latent.float())[0]))
    return found


class Crops:
    def __init__(self, found: list[Pair], rng: np.random.Generator) -> None:
        self.rng = rng
        order = np.random.default_rng(0).permutation(len(found))  # whatever the other has drawn already
        kept = max(1, round(HELD_OUT_SHARE * len(found)))
        self.held_out, self.train = [found[at] for at in order[:kept]], [found[at] for at in order[kept:]]

    def draw(self, rows: int) -> tuple[Tensor, Tensor]:
        """[rows, 4 CROP_CODES, WIDTH], [rows, CROP_CODES, 4]"""
        seen, levels = [], []
        for at in self.rng.integers(len(self.train), size=rows):
            one = self.train[at]
            first = int(self.rng.integers(len(one.levels) - CROP_CODES + 1))
            seen.append(one.seen[FRAMES_PER_CODE * first : FRAMES_PER_CODE * (first + CROP_CODES)].float())
            levels.append(one.levels[first : first + CROP_CODES])
        return torch.stack(seen), torch.stack(levels)


def loss(listener: Listener, seen: Tensor, levels: Tensor, arithmetic: Arithmetic = FLOAT32) -> Tensor:
    with arithmetic.on():
        ours = listener(seen)
    return F.smooth_l1_loss(ours.float(), levels, beta=0.5)


@torch.no_grad()
def evaluate(listener: Listener, held_out: list[Pair]) -> dict[str, float]:
    """Whole utterances that training has not seen."""
    listener.eval()
    ours = [listener(one.seen.float()[None])[0] for one in held_out]
    listener.train()
    return agreement(torch.cat(ours), torch.cat([one.levels for one in held_out]))


def learning_rate(step: int, progress: float, peak: float) -> float:
    return peak * min(1.0, step / 60 + 0.01) * (1.0 if progress < 0.4 else max(0.03, (1 - progress) / 0.6))


def main() -> None:
    folder = cache_folder() / "voice-kokoro"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--speech", type=Path, default=folder / "speech", help="blocks of models.teachers.kokoro.generate"
    )
    parser.add_argument("--packages", type=Path, default=cache_folder() / "packages")
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--voices", default="af_heart,am_michael", help="in the order of the codec")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="of speech, at most")
    parser.add_argument("--cpu-minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="the budget in steps instead")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    voices = arguments.voices.split(",")
    blocks = [path for path in sorted(arguments.speech.glob("*.npz")) if path.stem.partition("-")[2] in voices]
    listener, codec, rng = Listener(), load_codec(arguments.codec), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(
        listener.parameters(), arguments.peak, betas=(0.9, 0.98), weight_decay=1e-2, fused=True
    )
    budget_s, encoder = arguments.cpu_minutes * 60, encoder_sha256(codec)
    state = TrainingState(arguments.out, listener, optimiser, budget_s, rng, arguments.steps, encoder)
    resumed = arguments.resume and state.resume()
    if resumed and state.done:  # before an hour of speech is thought through again
        state.settle()
        state.save()
        return
    found = pairs(blocks[: arguments.blocks], Speaker(arguments.packages, arguments.threads), codec, voices)
    crops = Crops(found, rng)
    if not resumed:
        listener.adapt(torch.cat([one.seen.float() for one in crops.train[::8]]))
    seen, _ = Crops(found, np.random.default_rng(1)).draw(arguments.rows)
    arithmetic = quicker("the listener", lambda: listener(seen))
    train(
        state,
        lambda step, progress: learning_rate(step, progress, arguments.peak),
        lambda: loss(listener, *crops.draw(arguments.rows), arithmetic),
        lambda: evaluate(listener, crops.held_out),
        least="levels",
    )


if __name__ == "__main__":
    saying_refusals(main)
