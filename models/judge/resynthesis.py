"""How near the codec comes to the teacher on held-out speech: log-mel L1, STOI, PESQ wide band, F0 and voicing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pesq import pesq
from pystoi import stoi

from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.networks import pure
from engines.families.phone_pointer.overlap_add import OverlapAdd
from models.codec import Codec
from models.cpu_networks import spectrum_model
from models.framing import HOP, LOOK_BACK, SAMPLE_RATE_HZ
from models.mel import LogMel
from models.seen_phones import PhoneTimes, phone_times, served_frames
from models.teacher.prepare import load
from models.train_codec import held_out


@torch.no_grad()
def resynthesis(codec: Codec, folder: Path, voice: str, speaker: int, bundle: Bundle | None = None) -> dict[str, float]:
    """Means over the held-out utterances of one voice, with the pitch the decoder predicts.

    With a bundle the codes are spoken by its own vocoder graph, as serving does; pitch is then not looked at.
    """
    torch.manual_seed(0)
    utterances, pcm, f0 = load(folder, voice)
    mel, rows, cents, voicing_errors = LogMel(), [], [], []
    for one in held_out(utterances):
        samples = torch.tensor(np.array(pcm[one.offset : one.offset + one.samples])).float()[None] / 32768
        pitch = torch.tensor(np.array(f0[one.offset // HOP : (one.offset + one.samples) // HOP]))[None]
        values, codes = codec.encode(samples, pitch, torch.tensor([speaker]))
        if bundle is not None:
            rows.append(distances(mel, served(bundle, codes[0].numpy(), speaker, phone_times(one)), samples))
            continue
        seen = torch.tensor(phone_times(one).seen(0, values.shape[1]))[None]
        spoken, log_f0, voicing = codec.decoder.speak(values, torch.tensor([speaker]), seen)
        rows.append(distances(mel, spoken[:, LOOK_BACK:], samples))
        voiced = pitch > 0
        cents.append(((log_f0 - torch.log(pitch.clamp(min=50))).abs() * 1200 / np.log(2))[voiced])
        voicing_errors.append(float(((voicing > 0) != voiced).float().mean()))
    log_mel_l1, stoi_mean, pesq_mean = np.mean(rows, axis=0)
    figures = {"log_mel_l1": float(log_mel_l1), "stoi": float(stoi_mean), "pesq_wb": float(pesq_mean)}
    return (
        figures
        if bundle is not None
        else figures
        | {
            "f0_error_cents": float(torch.cat(cents).median()),
            "voicing_error": float(np.mean(voicing_errors)),
        }
    )


def distances(mel: LogMel, ours: torch.Tensor, theirs: torch.Tensor) -> tuple[float, float, float]:
    """log-mel L1, STOI and PESQ of samples [1, T] that begin together."""
    length = min(ours.shape[1], theirs.shape[1] - LOOK_BACK)
    ours, theirs = ours[:, :length], theirs[:, :length]
    pair = theirs[0].double().numpy(), ours[0].double().numpy()
    distance = float((mel(ours) - mel(theirs)).abs().mean())
    return distance, float(stoi(*pair, SAMPLE_RATE_HZ)), float(pesq(SAMPLE_RATE_HZ, *pair, "wb"))


def served(bundle: Bundle, codes: np.ndarray, speaker: int, times: PhoneTimes | None = None) -> torch.Tensor:
    """codes [T] -> samples [1, T * 640] as a listener at 16 kHz gets them. A vocoder that sees the text needs times."""
    vocoder, rate = spectrum_model(bundle), OverlapAdd(bundle, SAMPLE_RATE_HZ)
    excitation = noise(1, 0, bundle.look_back + len(codes) * bundle.samples_per_code)[None]
    state = vocoder.initial_state(1)
    as_it_is = pure(len(bundle.voices), speaker), np.ones(1, np.float32)
    spectrum, _ = vocoder.run(served_frames(bundle, codes, times)[None], *as_it_is, excitation, state)
    samples, tail = rate.run(spectrum, rate.start()[None])
    return torch.from_numpy(np.concatenate([samples, tail], axis=1)[:, rate.look_back :])
