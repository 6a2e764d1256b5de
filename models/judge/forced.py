"""The speech model and the vocoder alone: our voice with the teacher's phones and times, against the teacher's audio.

Both say the same at the same moments, so that a measure that compares sample by sample can be used (STOI, Taal et al.
2011).
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from engines.families.phone_pointer.bundle import Bundle
from models.codec import SAMPLES_PER_CODE
from models.judge import teacher
from models.judge.resynthesis import distances, served
from models.lm_data import Example, example
from models.mel import LogMel
from models.own_samples import own_samples
from models.seen_phones import PhoneTimes
from models.teacher.prepare import Utterance, trim


def forced(bundle: Bundle, program: Path, voice: str, texts: list[str]) -> dict[str, float]:
    """Means over the sentences, as a listener at 16 kHz gets them."""
    torch.manual_seed(0)
    speaker = bundle.voice(voice).index
    given: list[Example] = []
    theirs: dict[bytes, np.ndarray] = {}
    for samples, record in teacher.records(program, voice, texts, 1.0):
        trimmed = trim(record, samples, random.Random(record["text"]))
        assert trimmed is not None, f"the teacher's {record['text']!r} cannot be used"
        cut, segments = trimmed
        utterance = Utterance(
            voice=voice,
            stretch=1.0,
            text=record["text"],
            offset=0,
            samples=len(cut),
            segments=segments,
            words=record["words"],
        )
        given.append(example(utterance, np.zeros(len(cut) // SAMPLES_PER_CODE, int), speaker))
        theirs[given[-1].ends.tobytes() + given[-1].phones.tobytes()] = cut
    rows = []
    for own in own_samples(bundle, given, rows=8):
        cut = theirs[own.ends.tobytes() + own.phones.tobytes()]
        spoken = PhoneTimes(phones=own.phones, ends=own.ends)
        true = torch.from_numpy(cut.astype(np.float32) / 32768)[None]
        rows.append(distances(LogMel(), served(bundle, own.codes, speaker, spoken), true))
    log_mel_l1, stoi, pesq = np.mean(rows, axis=0)
    return {"log_mel_l1": float(log_mel_l1), "stoi": float(stoi), "pesq_wb": float(pesq)}
