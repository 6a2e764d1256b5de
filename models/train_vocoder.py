"""Trains the decoder alone, against a discriminator: python -m models.train_vocoder --codec FILE --out FILE ...

The encoder and with it every code stay as they are, so a speech model trained on the codes needs nothing new. Codes come
from the examples that `models.encode` wrote; the encoder is not even run. `--out` receives a whole codec in the form of
`models.train_codec` once a minute, with the running mean of the decoder's weights; the state of the run lies beside it.
"""

from __future__ import annotations

import argparse
import copy
import os
import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import TrainingState
from models.codec import FRAMES_PER_CODE, SAMPLES_PER_CODE, Codec, Decoder
from models.discriminator import Discriminator, adversarial_loss, discriminator_loss, feature_loss
from models.encode import load_codec
from models.excitation import HOP, LOOK_BACK
from models.lm_data import Example
from models.mel import LogMel, SpectralLoss
from models.teacher.prepare import Utterance, load
from models.train_codec import held_out

CROP_CODES = 32  # 1.28 s
JUDGED_SAMPLES = 10_240  # of each crop, shown to the discriminator
CONTEXTS = (0, 12, 24, 36)  # codes before the crop, drawn for each batch; 0 = the utterance's first codes
CONTEXT_SHARES = (0.15, 0.15, 0.2, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """codes [B, N] of which the first `context` only lead in; samples and F0 [B, ...] of the rest; voice [B]"""

    codes: Tensor
    context: int
    samples: Tensor
    f0_hz: Tensor
    voice: Tensor


class CodedSpeech:
    """Random crops of prepared speech with the codes it was given."""

    def __init__(self, folder: Path, examples: list[Example], voices: list[str], shares: list[float], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shares = np.array(shares) / sum(shares)
        self.voices = [load(folder, voice) for voice in voices]
        self.codes = [[one.codes for one in examples if one.speaker == speaker] for speaker in range(len(voices))]
        for (utterances, _, _), codes in zip(self.voices, self.codes):
            if [one.samples // SAMPLES_PER_CODE for one in utterances] != [len(one) for one in codes]:
                raise ValueError("the codes are not those of this speech: lengths differ")
        self._long_enough = [
            [index for index in range(len(utterances) - len(held_out(utterances))) if self._fits(codes[index], 0)]
            for (utterances, _, _), codes in zip(self.voices, self.codes)
        ]

    @staticmethod
    def _fits(codes: np.ndarray, context: int) -> bool:
        return len(codes) >= context + CROP_CODES

    def batch(self, rows: int) -> Crop:
        context = int(self.rng.choice(CONTEXTS, p=CONTEXT_SHARES))
        codes, waves, pitches = [], [], []
        voices = self.rng.choice(len(self.voices), rows, p=self.shares)
        for voice in voices:
            utterance, of_it = self._draw(int(voice), context)
            first = int(self.rng.integers(len(of_it) - context - CROP_CODES + 1)) if context else 0
            codes.append(of_it[first : first + context + CROP_CODES])
            start = utterance.offset + (first + context) * SAMPLES_PER_CODE
            _, pcm, f0 = self.voices[voice]
            waves.append(pcm[start : start + CROP_CODES * SAMPLES_PER_CODE])
            pitches.append(f0[start // HOP : start // HOP + CROP_CODES * FRAMES_PER_CODE])
        return Crop(
            codes=torch.tensor(np.stack(codes)),
            context=context,
            samples=torch.tensor(np.stack(waves)).float() / 32768,
            f0_hz=torch.tensor(np.stack(pitches)),
            voice=torch.tensor(voices),
        )

    def _draw(self, voice: int, context: int) -> tuple[Utterance, np.ndarray]:
        candidates, codes = self._long_enough[voice], self.codes[voice]
        for _ in range(100):
            index = candidates[self.rng.integers(len(candidates))]
            if self._fits(codes[index], context):
                return self.voices[voice][0][index], codes[index]
        raise ValueError(f"hardly any utterance has {context + CROP_CODES} codes")


class Networks(nn.Module):
    """Everything a run changes, so that one checkpoint holds it."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        self.average = copy.deepcopy(codec.decoder)
        self.discriminator = Discriminator(codec.decoder.voice.num_embeddings)

    def follow(self, step: int) -> None:
        """The running mean looks back some five hundred steps, fewer at the start."""
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.codec.decoder.parameters()):
                mean.lerp_(now, 1 - keep)


def generate(codec: Codec, crop: Crop, predicted_share: float) -> tuple[Tensor, Tensor, Tensor]:
    """spoken [B, S] beside samples [:, : S], log F0 and voicing logit [B, F].

    A share of the rows is spoken with the predicted pitch, as in serving; the others with the teacher's own.
    """
    decoder = codec.decoder
    with torch.autocast(crop.codes.device.type, torch.bfloat16):  # linear layers only; spectra stay in float32
        predicted = decoder.parameters_of_speech(decoder.quantiser.values(crop.codes), crop.voice)
    log_f0, voicing, filters = (part[:, crop.context * FRAMES_PER_CODE :].float() for part in predicted)
    own = (torch.rand(len(crop.codes), 1, device=crop.codes.device) < predicted_share).float()
    f0_hz = own * torch.exp(log_f0.detach()) + (1 - own) * crop.f0_hz
    voiced = own * (voicing.detach() > 0).float() + (1 - own) * (crop.f0_hz > 0).float()
    return codec.synthesise(filters, f0_hz, voiced)[:, LOOK_BACK : crop.samples.shape[1]], log_f0, voicing


def pitch_losses(log_f0: Tensor, voicing: Tensor, f0_hz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean distance of log F0 where voiced, of its steps from frame to frame, and voicing cross-entropy."""
    voiced = (f0_hz > 0).float()
    distance = log_f0 - torch.log(f0_hz.clamp(min=50))
    both = voiced[:, 1:] * voiced[:, :-1]
    f0 = (distance.abs() * voiced).sum() / voiced.sum().clamp(min=1)
    steps = ((distance[:, 1:] - distance[:, :-1]).abs() * both).sum() / both.sum().clamp(min=1)
    return f0, steps, F.binary_cross_entropy_with_logits(voicing, voiced)


def step_losses(
    networks: Networks, spectral: SpectralLoss, mel: LogMel, crop: Crop, weights: dict[str, float], share: float
) -> dict[str, Tensor]:
    """Leaves gradients in the decoder and the discriminator; returns the figures."""
    spoken, log_f0, voicing = generate(networks.codec, crop, share)
    theirs = crop.samples[:, : spoken.shape[1]]
    heard = spoken.detach().requires_grad_()
    start = int(torch.randint(spoken.shape[1] - JUDGED_SAMPLES + 1, ()))
    part = slice(start, start + JUDGED_SAMPLES)
    with torch.autocast(spoken.device.type, torch.bfloat16):
        real = networks.discriminator(theirs[:, part], crop.voice)
        fake = networks.discriminator(heard[:, part], crop.voice)
        told = networks.discriminator(heard.detach()[:, part], crop.voice)
    figures = {
        "spectral": spectral(heard, theirs),
        "mel": (mel(heard) - mel(theirs)).abs().mean(),
        "adversarial": adversarial_loss(fake),
        "features": feature_loss(real, fake),
    }
    pull = _balanced(figures["spectral"] + figures["mel"], figures, heard, weights)
    f0, steps, figures["voicing"] = pitch_losses(log_f0, voicing, crop.f0_hz)
    (weights["f0"] * (f0 + steps) + 0.4 * figures["voicing"] + (spoken * pull).sum()).backward()
    figures["discriminator"] = discriminator_loss(real, told)
    figures["discriminator"].backward()
    return figures | {"f0": f0, "f0_steps": steps}


def _balanced(spectral: Tensor, figures: dict[str, Tensor], heard: Tensor, weights: dict[str, float]) -> Tensor:
    """The gradient at the samples: the spectral one, and the discriminator's two at set shares of its length.

    Without this the right weights change by an order of magnitude along a run (Defossez et al., arXiv 2210.13438).
    """
    (pull,) = torch.autograd.grad(spectral, heard, retain_graph=True)
    length = pull.norm()
    for name in ("adversarial", "features"):
        if weights[name]:
            (other,) = torch.autograd.grad(figures[name], heard, retain_graph=True)
            pull = pull + weights[name] * length / other.norm().clamp(min=1e-12) * other
    return pull


@torch.no_grad()
def evaluate(decoder: Decoder, codec: Codec, speech: CodedSpeech) -> dict[str, float]:
    """Whole held-out utterances with predicted F0."""
    mel, rows = LogMel(), []
    serving = copy.copy(codec)
    serving._modules = {**codec._modules, "decoder": decoder}
    for voice, ((utterances, pcm, f0), codes) in enumerate(zip(speech.voices, speech.codes)):
        for back in range(1, len(held_out(utterances)) + 1):
            one, speaker = utterances[-back], torch.tensor([voice])
            samples = torch.tensor(np.array(pcm[one.offset : one.offset + one.samples])).float()[None] / 32768
            pitch = torch.tensor(np.array(f0[one.offset // HOP : (one.offset + one.samples) // HOP]))[None]
            values = decoder.quantiser.values(torch.tensor(codes[-back])[None])
            spoken, log_f0, voicing = serving.speak(values, speaker)
            length = one.samples - LOOK_BACK
            distance = (mel(spoken[:, LOOK_BACK : LOOK_BACK + length]) - mel(samples[:, :length])).abs().mean()
            voiced = pitch > 0
            cents = ((log_f0 - torch.log(pitch.clamp(min=50))).abs() * 1200 / np.log(2))[voiced]
            rows.append((float(distance), float(cents.median()), float(((voicing > 0) != voiced).float().mean())))
    return dict(zip(("mel_l1", "f0_cents", "voicing_error"), map(float, np.mean(rows, axis=0))))


def publish(path: Path, networks: Networks, state: TrainingState) -> None:
    """The codec with the mean decoder, renamed into place."""
    weights = networks.codec.state_dict()
    weights |= {f"decoder.{name}": value for name, value in networks.average.state_dict().items()}
    partial = path.with_suffix(".new")
    torch.save({"network": weights, "step": state.step, "spent_s": state.spent_s}, partial)
    os.replace(partial, path)


def learning_rate(step: int, progress: float, peak: float) -> float:
    return peak * min(1.0, step / 100 + 0.01) * (1.0 if progress < 0.5 else max(0.04, (1 - progress) / 0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--codes", type=Path, required=True, help="what models.encode wrote for this speech")
    parser.add_argument("--codec", type=Path, required=True, help="the codec whose decoder goes on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--voices", default="rms:0.6,slt:0.4")
    parser.add_argument("--cpu-minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peak", type=float, default=4e-4)
    parser.add_argument("--adversarial", type=float, default=1.0, help="pull relative to the spectral losses'")
    parser.add_argument("--features", type=float, default=1.0, help="likewise, of feature matching")
    parser.add_argument("--f0", type=float, default=6.0)
    parser.add_argument("--predicted", type=float, default=0.5, help="share of crops spoken with the predicted pitch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    names = [part.split(":")[0] for part in arguments.voices.split(",")]
    shares = [float(part.split(":")[1]) for part in arguments.voices.split(",")]
    speech = CodedSpeech(arguments.data, pickle.loads(arguments.codes.read_bytes()), names, shares, 0)
    networks = Networks(load_codec(arguments.codec))
    decoder, judge = networks.codec.decoder, networks.discriminator
    optimiser = torch.optim.AdamW(
        [{"params": list(decoder.parameters())}, {"params": list(judge.parameters())}],
        arguments.peak,
        betas=(0.8, 0.98),
        weight_decay=1e-3,
    )
    state = TrainingState(
        arguments.out.with_suffix(".run"), networks, optimiser, arguments.cpu_minutes * 60, speech.rng
    )
    if arguments.resume:
        state.resume()
    weights = {"adversarial": arguments.adversarial, "features": arguments.features, "f0": arguments.f0}
    mel, spectral = LogMel(), SpectralLoss()
    recent: list[list[float]] = []
    next_save, next_report = time.monotonic() + 60, time.monotonic() + 20
    while not state.done:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(state.step, state.progress, arguments.peak)
        optimiser.zero_grad()
        parts = step_losses(networks, spectral, mel, speech.batch(arguments.batch), weights, arguments.predicted)
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimiser.step()
        state.advance()
        networks.follow(state.step)
        recent.append([float(part.detach()) for part in parts.values()])
        if time.monotonic() > next_save:
            next_save = time.monotonic() + 60
            state.save()
            publish(arguments.out, networks, state)
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 300  # it costs some ten seconds
            means = dict(zip(parts, np.mean(recent[-50:], axis=0)))
            state.report(means | evaluate(networks.average, networks.codec, speech))
            recent.clear()
    state.report(evaluate(networks.average, networks.codec, speech))
    state.save()
    publish(arguments.out, networks, state)


if __name__ == "__main__":
    main()
