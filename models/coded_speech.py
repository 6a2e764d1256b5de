"""Prepared speech beside the codes it was given: random crops for training the decoder alone.

Codes come from the examples that `models.encode` wrote, so the encoder is not run again. A crop begins with codes that
only lead in: serving knows its past, so training should too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.codec import FRAMES_PER_CODE, SAMPLES_PER_CODE
from models.framing import HOP
from models.lm_data import Example
from models.seen_phones import PhoneTimes
from models.teacher.prepare import load
from models.train_codec import held_out

CROP_CODES = 32  # 1.28 s
CONTEXTS = (0, 12, 24, 36)  # codes before the crop, drawn for each batch; 0 = the utterance's first codes
CONTEXT_SHARES = (0.15, 0.15, 0.2, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """codes [B, N] of which the first `context` only lead in, and what the decoder sees of the text beside them
    [B, N, K]; samples and F0 [B, ...] of the rest; voice [B]"""

    codes: Tensor
    seen: Tensor
    context: int
    samples: Tensor
    f0_hz: Tensor
    voice: Tensor

    def to(self, device: torch.device) -> Crop:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return Crop(
            **{name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
        )


class CodedSpeech:
    """Random crops of prepared speech with the codes it was given."""

    def __init__(
        self, folder: Path, examples: list[Example], voices: list[str], shares: list[float], seed: int
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.shares = np.array(shares) / sum(shares)
        self.voices = [load(folder, voice) for voice in voices]
        of_voices = [[one for one in examples if one.speaker == speaker] for speaker in range(len(voices))]
        self.codes = [[one.codes for one in of_voice] for of_voice in of_voices]
        self._times = [[PhoneTimes(phones=one.phones, ends=one.ends) for one in of_voice] for of_voice in of_voices]
        for (utterances, _, _), codes in zip(self.voices, self.codes):
            if [one.samples // SAMPLES_PER_CODE for one in utterances] != [len(one) for one in codes]:
                raise ValueError("the codes are not those of this speech: lengths differ")
        self._long_enough = {
            context: [self._holding(voice, context) for voice in range(len(voices))] for context in CONTEXTS
        }
        if not all(self._long_enough[0]):
            raise ValueError(f"a voice has no utterance of {CROP_CODES} codes to train on")

    def _holding(self, voice: int, context: int) -> list[int]:
        """Which utterances of a voice to train on are long enough for a crop after so many codes."""
        utterances, codes = self.voices[voice][0], self.codes[voice]
        trained = len(utterances) - len(held_out(utterances))
        return [index for index in range(trained) if len(codes[index]) >= context + CROP_CODES]

    def batch(self, rows: int) -> Crop:
        context = int(self.rng.choice(CONTEXTS, p=CONTEXT_SHARES))
        if not all(self._long_enough[context]):
            context = 0
        codes, seen, waves, pitches = [], [], [], []
        voices = self.rng.choice(len(self.voices), rows, p=self.shares)
        for voice in voices:
            candidates = self._long_enough[context][voice]
            places = np.array([len(self.codes[voice][index]) - context - CROP_CODES + 1 for index in candidates])
            # In the middle an utterance as often as it is long, so that all speech is seen alike.
            index = int(self.rng.choice(candidates, p=places / places.sum() if context else None))
            utterance, of_it = self.voices[voice][0][index], self.codes[voice][index]
            first = int(self.rng.integers(len(of_it) - context - CROP_CODES + 1)) if context else 0
            codes.append(of_it[first : first + context + CROP_CODES])
            seen.append(self._times[voice][index].seen(first * FRAMES_PER_CODE, context + CROP_CODES))
            start = utterance.offset + (first + context) * SAMPLES_PER_CODE
            _, pcm, f0 = self.voices[voice]
            waves.append(pcm[start : start + CROP_CODES * SAMPLES_PER_CODE])
            pitches.append(f0[start // HOP : start // HOP + CROP_CODES * FRAMES_PER_CODE])
        return Crop(
            codes=torch.tensor(np.stack(codes)),
            seen=torch.tensor(np.stack(seen)),
            context=context,
            samples=torch.tensor(np.stack(waves)).float() / 32768,
            f0_hz=torch.tensor(np.stack(pitches)),
            voice=torch.tensor(voices),
        )

    def unseen(self) -> list[Crop]:
        """The held-out utterances, each whole."""
        crops = []
        for voice, ((utterances, pcm, f0), codes, times) in enumerate(zip(self.voices, self.codes, self._times)):
            for one, of_it, phones in list(zip(utterances, codes, times))[-len(held_out(utterances)) :]:
                end = one.offset + one.samples
                crops.append(
                    Crop(
                        codes=torch.tensor(of_it)[None],
                        seen=torch.tensor(phones.seen(0, len(of_it)))[None],
                        context=0,
                        samples=torch.tensor(np.array(pcm[one.offset : end])).float()[None] / 32768,
                        f0_hz=torch.tensor(np.array(f0[one.offset // HOP : end // HOP]))[None],
                        voice=torch.tensor([voice]),
                    )
                )
        return crops
