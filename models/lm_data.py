"""From the teacher's phone times to what the LM sees and must say at each step.

The same features are built step by step in serving (`engines/adapter_pointer.py`); a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engines.text import VOWELS, PauseType, phone_id
from models.codec import SAMPLES_PER_CODE
from models.excitation import SAMPLE_RATE_HZ
from models.speech_lm import BEGIN_CODE, BEYOND, LOOK_AHEAD_PHONES, MAX_ADVANCE, MAX_ELAPSED, WINDOW, LmInputs
from models.teacher.prepare import Utterance

_PAUSE_TYPES = {".": PauseType.PERIOD, "?": PauseType.QUESTION, "!": PauseType.EXCLAIM}
IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance. P phones, T codes."""

    codes: np.ndarray  # [T]
    phones: np.ndarray  # [P] ids
    to_pause: np.ndarray  # [P]
    pause_type: np.ndarray  # [P]
    pointer: np.ndarray  # [T] phone being spoken at each step
    speaker: int
    speed: float


def phone_ids(utterance: Utterance) -> np.ndarray:
    """Stress is kept on vowels only: which consonants share a syllable is the teacher's private matter."""
    ids, previous_word = [], -1
    for symbol, _, stress, word, _ in utterance.segments:
        starts = word >= 0 and word != previous_word
        previous_word = word
        ids.append(phone_id(symbol, stressed=stress == 1 and symbol in VOWELS, word_start=starts))
    return np.array(ids)


def pause_types(utterance: Utterance) -> list[int]:
    """For each phone 0, or the type of the pause it is."""
    types, last_word = [], -1
    for symbol, _, _, word, _ in utterance.segments:
        if symbol != "pau":
            last_word = word
            types.append(0)
            continue
        marks = utterance.words[last_word][2] if last_word >= 0 else ""
        found = [_PAUSE_TYPES[mark] for mark in marks if mark in _PAUSE_TYPES]
        types.append(int(found[0] if found else PauseType.PLAIN))
    return types


def pause_features(types: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """types [P] (0 = no pause) -> distance to the next pause [P] and its type [P], cut at the look-ahead"""
    distance, kind = np.full(len(types), BEYOND), np.zeros(len(types), int)
    ahead, ahead_type = BEYOND, 0
    for index in range(len(types) - 1, -1, -1):
        ahead, ahead_type = (0, types[index]) if types[index] else (ahead + 1, ahead_type)
        if ahead <= LOOK_AHEAD_PHONES:
            distance[index], kind[index] = ahead, ahead_type
    return distance, kind


def example(utterance: Utterance, codes: np.ndarray, speaker: int) -> Example:
    ends = np.array([segment[1] for segment in utterance.segments])
    centre_s = (np.arange(len(codes)) + 0.5) * SAMPLES_PER_CODE / SAMPLE_RATE_HZ
    pointer = np.minimum(np.searchsorted(ends, centre_s, side="right"), len(ends) - 1)
    pointer[0] = 0
    distance, kind = pause_features(pause_types(utterance))
    return Example(
        codes=codes,
        phones=phone_ids(utterance),
        to_pause=distance,
        pause_type=kind,
        pointer=pointer,
        speaker=speaker,
        speed=float(np.log(utterance.stretch)),
    )


def collate(
    examples: list[Example], noise: np.random.Generator | None = None
) -> tuple[LmInputs, torch.Tensor, torch.Tensor]:
    """Pads to one length. Returns inputs, code targets [B, T] and advance targets [B, T] (IGNORED where padded).

    With `noise`, a few input codes move one level in one dimension: the model sees its own small mistakes.
    """
    rows, length = len(examples), max(len(one.codes) for one in examples)
    fields = {name: np.zeros((rows, length), int) for name in ("code", "elapsed", "to_pause", "pause_type", "speaker")}
    phones, speed = np.zeros((rows, length, len(WINDOW)), int), np.zeros((rows, length), np.float32)
    code_target, advance_target = np.full((rows, length), IGNORED), np.full((rows, length), IGNORED)
    for row, one in enumerate(examples):
        count = len(one.codes)
        history = one.codes if noise is None else _disturb(one.codes, noise)
        fields["code"][row, 0] = BEGIN_CODE
        fields["code"][row, 1:count] = history[:-1]
        padded = np.pad(one.phones, (-WINDOW[0], WINDOW[-1]))
        phones[row, :count] = padded[one.pointer[:, None] - WINDOW[0] + np.array(WINDOW)]
        fields["elapsed"][row, :count] = elapsed(one.pointer)
        fields["to_pause"][row, :count] = one.to_pause[one.pointer]
        fields["pause_type"][row, :count] = one.pause_type[one.pointer]
        fields["speaker"][row] = one.speaker
        speed[row] = one.speed
        code_target[row, :count] = one.codes
        moves = np.diff(one.pointer, append=one.pointer[-1] + 1)
        advance_target[row, :count] = np.clip(moves, 0, MAX_ADVANCE)
    tensors = {name: torch.from_numpy(values) for name, values in fields.items()}
    inputs = LmInputs(phones=torch.from_numpy(phones), speed=torch.from_numpy(speed), **tensors)
    return inputs, torch.from_numpy(code_target), torch.from_numpy(advance_target)


def elapsed(pointer: np.ndarray) -> np.ndarray:
    """Steps already spent on the phone under the pointer. pointer [T] -> [T]"""
    index = np.arange(len(pointer))
    starts = np.maximum.accumulate(np.where(np.diff(pointer, prepend=-1) != 0, index, 0))
    return np.minimum(index - starts, MAX_ELAPSED)


def _disturb(codes: np.ndarray, noise: np.random.Generator, share: float = 0.12) -> np.ndarray:
    chosen = noise.random(len(codes)) < share
    dimension = 8 ** noise.integers(0, 4, len(codes))
    digit = codes // dimension % 8
    step = np.where(digit == 0, 1, np.where(digit == 7, -1, noise.choice([-1, 1], len(codes))))
    return np.asarray(np.where(chosen, codes + step * dimension, codes))
