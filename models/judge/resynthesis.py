"""How near the codec comes to the teacher on held-out speech: log-mel L1, STOI, PESQ wide band, F0 and voicing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pesq import pesq
from pystoi import stoi

from models.codec import Codec
from models.excitation import HOP, LOOK_BACK, SAMPLE_RATE_HZ
from models.mel import LogMel
from models.teacher.prepare import load
from models.train_codec import held_out


@torch.no_grad()
def resynthesis(codec: Codec, folder: Path, voice: str, speaker: int) -> dict[str, float]:
    """Means over the held-out utterances of one voice, with the pitch the decoder predicts."""
    torch.manual_seed(0)
    utterances, pcm, f0 = load(folder, voice)
    mel, rows, cents, voicing_errors = LogMel(), [], [], []
    for one in held_out(utterances):
        samples = torch.tensor(np.array(pcm[one.offset : one.offset + one.samples])).float()[None] / 32768
        pitch = torch.tensor(np.array(f0[one.offset // HOP : (one.offset + one.samples) // HOP]))[None]
        values, _ = codec.encode(samples, pitch, torch.tensor([speaker]))
        spoken, log_f0, voicing = codec.speak(values, torch.tensor([speaker]))
        length = samples.shape[1] - LOOK_BACK
        ours, theirs = spoken[:, LOOK_BACK : LOOK_BACK + length], samples[:, :length]
        pair = theirs[0].double().numpy(), ours[0].double().numpy()
        rows.append(
            (
                float((mel(ours) - mel(theirs)).abs().mean()),
                float(stoi(*pair, SAMPLE_RATE_HZ)),
                float(pesq(SAMPLE_RATE_HZ, *pair, "wb")),
            )
        )
        voiced = pitch > 0
        cents.append(((log_f0 - torch.log(pitch.clamp(min=50))).abs() * 1200 / np.log(2))[voiced])
        voicing_errors.append(float(((voicing > 0) != voiced).float().mean()))
    log_mel_l1, stoi_mean, pesq_mean = np.mean(rows, axis=0)
    return {
        "log_mel_l1": float(log_mel_l1),
        "stoi": float(stoi_mean),
        "pesq_wb": float(pesq_mean),
        "f0_error_cents": float(torch.cat(cents).median()),
        "voicing_error": float(np.mean(voicing_errors)),
    }
