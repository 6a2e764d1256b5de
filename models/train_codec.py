"""Trains the codec on prepared speech: python -m models.train_codec --data DIR --out FILE --cpu-minutes N

With `--pairs`, texts that the teacher spoke twice with different excitation noise teach the encoder to give both the
same codes: what only the noise decides is nothing a speech model could predict. Where there is one recording of each
text, `--disturbed` does the same with a crop and that crop in faint noise.

Budgets count this process's CPU time, because wall time says little on a shared machine. A checkpoint with optimiser,
random state and progress is written every minute; `--resume` goes on from it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.arithmetic import FLOAT32, PROBED_ROWS, Arithmetic, quicker
from models.checkpoint import TrainingState
from models.codec import LEVELS, SAMPLES_PER_CODE, Codec
from models.framing import HOP, LOOK_BACK
from models.mel import LogMel, SpectralLoss
from models.seen_phones import SEEN_COLUMNS, SEEN_ROWS, phone_times
from models.teacher.prepare import Utterance, load, pitch_statistics

CROP_SAMPLES = 20_480  # 1.28 s
HELD_OUT = 12  # last utterances of each voice (a quarter of few), never trained on
DISTURBANCE_BELOW_DB = (30.0, 45.0)  # the noise of a disturbed crop, below the crop itself
AT_START = 0.15  # share of crops that begin an utterance, where the decoder has no past


def held_out(utterances: list[Utterance]) -> list[Utterance]:
    return utterances[-min(HELD_OUT, len(utterances) // 4) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """samples [B, S], f0_hz [B, S / HOP] (0 = unvoiced), voice [B], seen [B, S / SAMPLES_PER_CODE, K]"""

    samples: Tensor
    f0_hz: Tensor
    voice: Tensor
    seen: Tensor


class Speech:
    """Random crops of prepared speech."""

    def __init__(
        self,
        folder: Path,
        voices: list[str],
        shares: list[float],
        seed: int,
        pairs: Path | None = None,
        disturbed: bool = False,
    ) -> None:
        self.voices = [load(folder, voice) for voice in voices]
        self.shares = np.array(shares) / sum(shares)
        self.rng = np.random.default_rng(seed)
        self._pairs = [] if pairs is None else [_Pairs(pairs, voice) for voice in voices]
        self._disturbed = disturbed
        self._times = [[phone_times(one) for one in utterances] for utterances, _, _ in self.voices]
        self._places = [
            _places(utterances[: len(utterances) - len(held_out(utterances))]) for utterances, _, _ in self.voices
        ]

    def place(self, voice: int) -> tuple[int, int]:
        """-> utterance, first sample of a crop in it. All speech is seen alike, so an utterance as often as it is long;
        but `AT_START` of the crops begin one."""
        places = self._places[voice]
        if self.rng.random() < AT_START:
            return int(self.rng.choice(np.flatnonzero(places))), 0
        index = int(self.rng.choice(len(places), p=places / places.sum()))
        return index, int(self.rng.integers(places[index])) * HOP

    def batch(self, rows: int) -> Crop:
        waves, pitches, voices, seen = [], [], [], []
        for _ in range(rows):
            voice = int(self.rng.choice(len(self.voices), p=self.shares))
            utterances, pcm, f0 = self.voices[voice]
            index, first = self.place(voice)
            one = utterances[index]
            start = one.offset + first
            waves.append(pcm[start : start + CROP_SAMPLES])
            pitches.append(f0[start // HOP : (start + CROP_SAMPLES) // HOP])
            times = self._times[voice][index]
            seen.append(times.seen((start - one.offset) // HOP, CROP_SAMPLES // SAMPLES_PER_CODE))
            voices.append(voice)
        return Crop(
            samples=torch.tensor(np.stack(waves)).float() / 32768,
            f0_hz=torch.tensor(np.stack(pitches)),
            voice=torch.tensor(voices),
            seen=torch.tensor(np.stack(seen)),
        )

    def pairs(self, rows: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """As `batch`, 2 x rows: row i and row rows + i are two renderings of the same moment. None without pairs."""
        if self._disturbed:
            return self._disturbed_pairs(rows)
        if not self._pairs:
            return None
        crops = []
        for voice in self.rng.choice(len(self.voices), rows, p=self.shares):
            crops.append((*self._pairs[voice].crop(self.rng), int(voice)))
        waves = np.stack([crop[0][side] for side in (0, 1) for crop in crops])
        pitches = np.stack([crop[1][side] for side in (0, 1) for crop in crops])
        return torch.tensor(waves).float() / 32768, torch.tensor(pitches), torch.tensor([c[2] for c in crops] * 2)

    def _disturbed_pairs(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        crop = self.batch(rows)
        samples = crop.samples
        below_db = self.rng.uniform(*DISTURBANCE_BELOW_DB, (rows, 1))
        level = samples.square().mean(1, keepdim=True).sqrt() * torch.tensor(10 ** (-below_db / 20)).float()
        noise = torch.tensor(self.rng.standard_normal(samples.shape)).float()
        return torch.cat([samples, samples + level * noise]), crop.f0_hz.repeat(2, 1), crop.voice.repeat(2)

    def evaluation(self) -> list[Crop]:
        """The held-out utterances, each whole."""
        result = []
        for voice, (utterances, pcm, f0) in enumerate(self.voices):
            first = len(utterances) - len(held_out(utterances))
            for one, times in zip(held_out(utterances), self._times[voice][first:], strict=True):
                samples = torch.tensor(np.array(pcm[one.offset : one.offset + one.samples])).float()[None] / 32768
                pitch = torch.tensor(np.array(f0[one.offset // HOP : (one.offset + one.samples) // HOP]))[None]
                seen = torch.tensor(times.seen(0, one.samples // SAMPLES_PER_CODE))[None]
                result.append(Crop(samples=samples, f0_hz=pitch, voice=torch.tensor([voice]), seen=seen))
        return result


def _places(utterances: list[Utterance]) -> np.ndarray:
    """[N]: the places where a crop of each may begin. Raises ValueError where there are none."""
    found = np.array([max(0, (one.samples - CROP_SAMPLES) // HOP + 1) for one in utterances])
    if not found.any():
        raise ValueError(f"no utterance has the {CROP_SAMPLES} samples of a crop")
    return found


class _Pairs:
    """Neighbouring utterances of one file that say the same."""

    def __init__(self, folder: Path, voice: str) -> None:
        self.utterances, self.pcm, self.f0 = load(folder, voice)
        self.first = [
            index
            for index, (one, two) in enumerate(zip(self.utterances, self.utterances[1:]))
            if one.text == two.text and one.samples == two.samples >= CROP_SAMPLES and one.stretch == two.stretch
        ]

    def crop(self, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        first = self.first[rng.integers(len(self.first))]
        start = int(rng.integers((self.utterances[first].samples - CROP_SAMPLES) // HOP + 1)) * HOP
        starts = [self.utterances[index].offset + start for index in (first, first + 1)]
        waves = [np.asarray(self.pcm[at : at + CROP_SAMPLES]) for at in starts]
        return waves, [np.asarray(self.f0[at // HOP : (at + CROP_SAMPLES) // HOP]) for at in starts]


def disagreement(
    codec: Codec, samples: Tensor, f0_hz: Tensor, voice: Tensor, arithmetic: Arithmetic = FLOAT32
) -> tuple[Tensor, Tensor]:
    """Of `Speech.pairs`: mean squared distance of the latents in quantiser levels, and the share of equal codes."""
    with arithmetic.on():
        latent = codec.latent(samples, f0_hz, voice)
    levels = codec.decoder.quantiser.levels(latent.float())
    one, two = levels.chunk(2)
    equal = (torch.round(one) == torch.round(two)).all(-1).float().mean()
    return ((one - two) ** 2).mean(), equal


def losses(
    codec: Codec, spectral: SpectralLoss, mel: LogMel, crop: Crop, arithmetic: Arithmetic = FLOAT32
) -> dict[str, Tensor]:
    samples, f0_hz = crop.samples, crop.f0_hz
    with arithmetic.on():
        values, _ = codec.encode(samples, f0_hz, crop.voice)
        log_f0, voicing, filters = codec.decoder.parameters_of_speech(values, crop.voice, crop.seen)
    log_f0, voicing = log_f0.float(), voicing.float()
    spoken = codec.decoder.synthesise(filters.float(), f0_hz, (f0_hz > 0).float())
    ours, theirs = spoken[:, LOOK_BACK : samples.shape[1]], samples[:, : samples.shape[1] - LOOK_BACK]
    voiced = (f0_hz > 0).float()
    true_log_f0 = torch.log(f0_hz.clamp(min=50))
    return {
        "spectral": spectral(ours, theirs),
        "mel": (mel(ours) - mel(theirs)).abs().mean(),
        "f0": ((log_f0 - true_log_f0).abs() * voiced).sum() / voiced.sum().clamp(min=1),
        "voicing": F.binary_cross_entropy_with_logits(voicing, voiced),
    }


@torch.no_grad()
def evaluate(codec: Codec, mel: LogMel, unseen: list[Crop]) -> dict[str, float]:
    """Whole held-out utterances with predicted F0."""
    codec.eval()
    mel_errors, cents, voicing_errors, codes = [], [], [], []
    for crop in unseen:
        samples, f0_hz = crop.samples, crop.f0_hz
        values, code = codec.encode(samples, f0_hz, crop.voice)
        spoken, log_f0, voicing = codec.decoder.speak(values, crop.voice, crop.seen)
        length = samples.shape[1] - LOOK_BACK
        mel_errors.append(
            float((mel(spoken[:, LOOK_BACK : LOOK_BACK + length]) - mel(samples[:, :length])).abs().mean())
        )
        voiced = f0_hz > 0
        cents.append(((log_f0 - torch.log(f0_hz.clamp(min=50))).abs() * 1200 / np.log(2))[voiced])
        voicing_errors.append(float(((voicing > 0) != voiced).float().mean()))
        codes.append(code.flatten())
    codec.train()
    share = torch.bincount(torch.cat(codes)).float()
    share = share[share > 0] / share.sum()
    return {
        "mel_l1": float(np.mean(mel_errors)),
        "f0_cents": float(torch.cat(cents).median()),
        "voicing_error": float(np.mean(voicing_errors)),
        "code_entropy_bits": float(-(share * share.log2()).sum()),
    }


def start_from(codec: Codec, path: Path) -> None:
    """Takes over a codec of fewer voices; a new voice starts as the mean of the old ones. A decoder that did not see
    the text begins to."""
    saved = torch.load(path, weights_only=False)["network"]
    old = saved["decoder.voice.weight"]
    more = codec.decoder.voice.num_embeddings - len(old)
    saved["decoder.voice.weight"] = torch.cat([old, old.mean(0, keepdim=True).expand(more, -1)])
    for name in ("pitch_mean", "pitch_deviation"):
        saved[name] = torch.cat([saved[name], getattr(codec, name)[len(old) :]])
    if codec.decoder.seen is not None:
        saved.setdefault("decoder.seen.weight", codec.decoder.seen.weight)
    codec.load_state_dict(saved)


def learning_rate(step: int, progress: float, peak: float) -> float:
    return peak * min(1.0, step / 60 + 0.01) * (1.0 if progress < 0.5 else max(0.04, (1 - progress) / 0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--voices", default="rms:0.6,slt:0.4")
    parser.add_argument("--cpu-minutes", type=float, default=280)
    parser.add_argument("--steps", type=int, help="the budget in steps instead")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peak", type=float, default=1e-3)
    parser.add_argument("--pairs", type=Path, help="prepared speech in which each text comes twice in a row")
    parser.add_argument("--disturbed", action="store_true", help="pairs made from one recording and faint noise")
    parser.add_argument("--agreement", type=float, default=1.0, help="weight of the distance between the two of a pair")
    parser.add_argument("--start-from", type=Path, help="a trained codec, whose first voices are ours too")
    parser.add_argument("--sees-text", action="store_true", help="show the decoder the phones that the codes belong to")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    names = [part.split(":")[0] for part in arguments.voices.split(",")]
    shares = [float(part.split(":")[1]) for part in arguments.voices.split(",")]
    speech = Speech(arguments.data, names, shares, 0, arguments.pairs, arguments.disturbed)
    codec = Codec(len(names), SEEN_ROWS if arguments.sees_text else 0)
    if arguments.start_from:
        start_from(codec, arguments.start_from)
    for index, (_, _, f0) in enumerate(speech.voices):
        mean, deviation = pitch_statistics(np.asarray(f0))
        codec.pitch_mean[index], codec.pitch_deviation[index] = mean, deviation
    values, voice = torch.zeros(PROBED_ROWS, CROP_SAMPLES // SAMPLES_PER_CODE, len(LEVELS)), torch.tensor([0])
    seen = torch.zeros(*values.shape[:2], SEEN_COLUMNS, dtype=torch.long)
    arithmetic = quicker("the codec", lambda: codec.decoder.parameters_of_speech(values, voice, seen)[2])
    optimiser = torch.optim.AdamW(codec.parameters(), arguments.peak, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
    state = TrainingState(arguments.out, codec, optimiser, arguments.cpu_minutes * 60, speech.rng, arguments.steps)
    if arguments.resume:
        state.resume()
    mel, spectral, unseen = LogMel(), SpectralLoss(), speech.evaluation()
    recent: list[list[float]] = []
    next_save, next_report = time.monotonic() + 60, time.monotonic() + 20
    while not state.done:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(state.step, state.progress, arguments.peak)
        parts = losses(codec, spectral, mel, speech.batch(arguments.batch), arithmetic)
        loss = parts["spectral"] + parts["mel"] + 3 * parts["f0"] + 0.4 * parts["voicing"]
        pairs = speech.pairs(arguments.batch // 2)
        if pairs is not None:
            distance, parts["equal_codes"] = disagreement(codec, *pairs, arithmetic)
            loss = loss + arguments.agreement * distance
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimiser.step()
        state.advance()
        recent.append([float(part.detach()) for part in parts.values()])
        if time.monotonic() > next_save:
            next_save = time.monotonic() + 60
            state.save()
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 300  # it costs some ten seconds
            state.report(dict(zip(parts, np.mean(recent[-50:], axis=0))) | evaluate(codec, mel, unseen))
            recent.clear()
    state.report(evaluate(codec, mel, unseen))
    state.save()


if __name__ == "__main__":
    main()
