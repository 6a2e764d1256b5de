"""Trains the decoder alone, against a discriminator: python -m models.train_vocoder --codec FILE --out FILE ...

The encoder and with it every code stay as they are, so a speech model trained on the codes needs nothing new. The
codes come from what `models.encode` wrote; the encoder is not even run. Once a minute `--out` receives a whole codec in
the form of `models.train_codec`, with the running mean of the decoder's weights; the run's state lies beside it.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.arithmetic import FLOAT32, PROBED_ROWS, Arithmetic, quicker
from models.checkpoint import TrainingState
from models.code_files import read_codes, refuse_other_encoder, saying_refusals
from models.codec import FRAMES_PER_CODE, Codec, Decoder
from models.coded_speech import CodedSpeech, Crop
from models.discriminator import Discriminator, adversarial_loss, discriminator_loss, feature_loss
from models.encode import load_codec
from models.encoder_hash import encoder_sha256
from models.framing import LOOK_BACK
from models.mel import LogMel, LowHarmonics, SpectralLoss

JUDGED_SAMPLES = 10_240  # of each crop, shown to the discriminator
JUDGE_RATE = 1e-3


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


def generate(
    codec: Codec, crop: Crop, predicted_share: float, arithmetic: Arithmetic = FLOAT32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """spoken [B, S] beside samples [:, : S], log F0 and voicing logit [B, F], log filters [B, F, 2 BINS].

    A share of the rows is spoken with the predicted pitch, as in serving; the others with the teacher's own.
    """
    decoder = codec.decoder
    with arithmetic.on(crop.codes.device.type):
        predicted = decoder.parameters_of_speech(decoder.quantiser.values(crop.codes), crop.voice, crop.seen)
    log_f0, voicing, filters = (part[:, crop.context * FRAMES_PER_CODE :].float() for part in predicted)
    own = (torch.rand(len(crop.codes), 1, device=crop.codes.device) < predicted_share).float()
    f0_hz = own * torch.exp(log_f0.detach()) + (1 - own) * crop.f0_hz
    voiced = own * (voicing.detach() > 0).float() + (1 - own) * (crop.f0_hz > 0).float()
    return decoder.synthesise(filters, f0_hz, voiced)[:, LOOK_BACK : crop.samples.shape[1]], log_f0, voicing, filters


def unrest(filters: Tensor) -> Tensor:
    """Mean distance of each log filter from the middle of its neighbours in time. filters [B, F, 2 BINS]

    A window reaches over three frames, so that what changes from one to the next and back is hardly in the spectra, and
    is heard as roughness.
    """
    return (filters[:, 1:-1] - (filters[:, :-2] + filters[:, 2:]) / 2).abs().mean()


def pitch_losses(log_f0: Tensor, voicing: Tensor, f0_hz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean distance of log F0 where voiced, of its steps from frame to frame, and voicing cross-entropy."""
    voiced = (f0_hz > 0).float()
    distance = log_f0 - torch.log(f0_hz.clamp(min=50))
    both = voiced[:, 1:] * voiced[:, :-1]
    f0 = (distance.abs() * voiced).sum() / voiced.sum().clamp(min=1)
    steps = ((distance[:, 1:] - distance[:, :-1]).abs() * both).sum() / both.sum().clamp(min=1)
    return f0, steps, F.binary_cross_entropy_with_logits(voicing, voiced)


def step_losses(
    networks: Networks,
    spectral: SpectralLoss,
    mel: LogMel,
    low: LowHarmonics,
    crop: Crop,
    weights: dict[str, float],
    share: float,
    arithmetic: Arithmetic = FLOAT32,
    judging: Arithmetic = FLOAT32,
) -> dict[str, Tensor]:
    """Leaves gradients in the decoder and the discriminator; returns the figures."""
    spoken, log_f0, voicing, filters = generate(networks.codec, crop, share, arithmetic)
    theirs = crop.samples[:, : spoken.shape[1]]
    heard = spoken.detach().requires_grad_()
    start = int(torch.randint(spoken.shape[1] - JUDGED_SAMPLES + 1, ()))
    part = slice(start, start + JUDGED_SAMPLES)
    with judging.on(spoken.device.type):
        real = networks.discriminator(theirs[:, part], crop.voice)
        fake = networks.discriminator(heard[:, part], crop.voice)
    figures = {
        "spectral": spectral(heard, theirs),
        "mel": (mel(heard) - mel(theirs)).abs().mean(),
        "low": low(heard, theirs),
        "adversarial": adversarial_loss(fake),
        "features": feature_loss(real, fake),
    }
    spectra = figures["spectral"] + figures["mel"] + weights["low"] * figures["low"]
    pull = _balanced(spectra, figures, heard, weights)
    f0, steps, figures["voicing"] = pitch_losses(log_f0, voicing, crop.f0_hz)
    figures["unrest"] = unrest(filters)
    aside = weights["f0"] * (f0 + steps) + 0.4 * figures["voicing"] + weights["unrest"] * figures["unrest"]
    (aside + (spoken * pull).sum()).backward()
    figures["discriminator"] = discriminator_loss(real, fake)
    figures["discriminator"].backward(inputs=list(networks.discriminator.parameters()))
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
def evaluate(decoder: Decoder, mel: LogMel, unseen: list[Crop]) -> dict[str, float]:
    """Whole utterances with predicted F0."""
    rows, cents = [], []
    for crop in unseen:
        log_f0, voicing, filters = decoder.parameters_of_speech(
            decoder.quantiser.values(crop.codes), crop.voice, crop.seen
        )
        spoken = decoder.synthesise(filters, torch.exp(log_f0), (voicing > 0).float())
        length = crop.samples.shape[1] - LOOK_BACK
        distance = (mel(spoken[:, LOOK_BACK : LOOK_BACK + length]) - mel(crop.samples[:, :length])).abs().mean()
        voiced = crop.f0_hz > 0
        cents.append(((log_f0 - torch.log(crop.f0_hz.clamp(min=50))).abs() * 1200 / np.log(2))[voiced])
        rows.append((float(distance), float(((voicing > 0) != voiced).float().mean())))
    mel_l1, voicing_error = np.mean(rows, axis=0)
    return {
        "mel_l1": float(mel_l1),
        "f0_cents": float(torch.cat(cents).median()),
        "voicing_error": float(voicing_error),
    }


def publish(path: Path, networks: Networks, state: TrainingState, codec_steps: int) -> None:
    """The codec with the mean decoder, renamed into place."""
    weights = networks.codec.state_dict()
    weights |= {f"decoder.{name}": value for name, value in networks.average.state_dict().items()}
    partial = path.with_suffix(".new")
    found = {name: value.cpu() for name, value in weights.items()}
    steps = {"step": codec_steps, "decoder_steps": state.step, "spent_s": state.spent_s}
    torch.save({"network": found, "encoder_sha256": state.encoder, **steps}, partial)
    os.replace(partial, path)


def _arithmetics(networks: Networks, crop: Crop, device: str) -> tuple[Arithmetic, Arithmetic]:
    """Of the decoder, which is linear layers, and of the discriminator, which is convolutions."""
    decoder, values = networks.codec.decoder, networks.codec.decoder.quantiser.values(crop.codes)
    part = crop.samples[:, :JUDGED_SAMPLES]
    return (
        quicker("the decoder", lambda: decoder.parameters_of_speech(values, crop.voice, crop.seen)[2], device),
        quicker(
            "the discriminator",
            lambda: torch.stack([score.float().sum() for score, _ in networks.discriminator(part, crop.voice)]),
            device,
        ),
    )


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
    parser.add_argument("--steps", type=int, help="the budget in steps instead")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peak", type=float, default=4e-4)
    parser.add_argument("--adversarial", type=float, default=5.0, help="pull relative to the spectral losses'")
    parser.add_argument("--features", type=float, default=2.0, help="likewise, of feature matching")
    parser.add_argument("--f0", type=float, default=6.0)
    parser.add_argument("--low", type=float, default=0.0, help="share of the first harmonics in the spectral losses")
    parser.add_argument("--unrest", type=float, default=0.3, help="weight of filters that change to and fro")
    parser.add_argument("--predicted", type=float, default=0.5, help="share of crops spoken with the predicted pitch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    names = [part.split(":")[0] for part in arguments.voices.split(",")]
    shares = [float(part.split(":")[1]) for part in arguments.voices.split(",")]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    coded, codec = read_codes(arguments.codes), load_codec(arguments.codec)
    encoder = encoder_sha256(codec)
    refuse_other_encoder(arguments.codes, coded.encoder_sha256, encoder, arguments.codec)
    speech = CodedSpeech(arguments.data, coded.examples, names, shares, 0)
    networks = Networks(codec).to(device)
    codec_steps = torch.load(arguments.codec, weights_only=False)["step"]
    decoder, judge = networks.codec.decoder, networks.discriminator
    arithmetics = _arithmetics(networks, speech.batch(PROBED_ROWS).to(device), device.type)
    optimiser = torch.optim.AdamW(
        [{"params": list(decoder.parameters())}, {"params": list(judge.parameters()), "lr": JUDGE_RATE}],
        arguments.peak,
        betas=(0.8, 0.98),
        weight_decay=1e-3,
        fused=True,
    )
    state = TrainingState(
        arguments.out.with_suffix(".run"),
        networks,
        optimiser,
        arguments.cpu_minutes * 60,
        speech.rng,
        arguments.steps,
        encoder,
    )
    if not (arguments.resume and state.resume()):
        judge.adapt(speech.batch(64).samples.to(device))
    weights = {"adversarial": arguments.adversarial, "features": arguments.features, "low": arguments.low}
    weights |= {"f0": arguments.f0, "unrest": arguments.unrest}
    mel, low, spectral = LogMel().to(device), LowHarmonics().to(device), SpectralLoss().to(device)
    unseen = [crop.to(device) for crop in speech.unseen()]
    recent: list[list[float]] = []
    next_save, next_report = time.monotonic() + 60, time.monotonic() + 20
    while not state.done:
        optimiser.param_groups[0]["lr"] = learning_rate(state.step, state.progress, arguments.peak)
        optimiser.zero_grad()
        crop = speech.batch(arguments.batch).to(device)
        parts = step_losses(networks, spectral, mel, low, crop, weights, arguments.predicted, *arithmetics)
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 5.0)
        optimiser.step()
        state.advance()
        networks.follow(state.step)
        recent.append([float(part.detach()) for part in parts.values()])
        if time.monotonic() > next_save:
            next_save = time.monotonic() + 60
            state.save()
            publish(arguments.out, networks, state, codec_steps)
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 300  # it costs some ten seconds
            means = dict(zip(parts, np.mean(recent[-50:], axis=0)))
            state.report(means | evaluate(networks.average, mel, unseen))
            recent.clear()
    state.report(evaluate(networks.average, mel, unseen))
    state.save()
    publish(arguments.out, networks, state, codec_steps)


if __name__ == "__main__":
    saying_refusals(main)
