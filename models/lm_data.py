"""From the teacher's phone times to what the LM sees and must say at each step, and to what the durations are.

Serving builds the same features step by step (`engines/families/phone_pointer/inputs.py`); a test holds the two
together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engines.text import VOWELS, PauseType, phone_id
from models.codec import FRAMES_PER_CODE
from models.framing import HOP, SAMPLE_RATE_HZ
from models.speech_lm import BEGIN_CODE, BEYOND, FOLLOWING, LEFT, LOOK_AHEAD_PHONES, SINCE, WINDOW, LmInputs
from models.teacher.prepare import Utterance

_PAUSE_TYPES = {".": PauseType.PERIOD, "?": PauseType.QUESTION, "!": PauseType.EXCLAIM}
IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance. P phones, T codes."""

    codes: np.ndarray  # [T]
    phones: np.ndarray  # [P] ids
    pauses: np.ndarray  # [P] the type of the pause it is, or 0
    ends: np.ndarray  # [P] when it ends, in hops from the first sample
    speaker: int
    stretch: float  # of the teacher's durations


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


def pause_features(types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """types [P] (0 = no pause) -> distance to the next pause [P] and its type [P], cut at the look-ahead"""
    distance, kind = np.full(len(types), BEYOND), np.zeros(len(types), int)
    ahead, ahead_type = BEYOND, 0
    for index in range(len(types) - 1, -1, -1):
        ahead, ahead_type = (0, types[index]) if types[index] else (ahead + 1, ahead_type)
        if ahead <= LOOK_AHEAD_PHONES:
            distance[index], kind[index] = ahead, ahead_type
    return distance, kind


def example(utterance: Utterance, codes: np.ndarray, speaker: int) -> Example:
    ends_s = np.array([segment[1] for segment in utterance.segments])
    return Example(
        codes=codes,
        phones=phone_ids(utterance),
        pauses=np.array(pause_types(utterance)),
        ends=np.round(ends_s * SAMPLE_RATE_HZ / HOP).astype(int),
        speaker=speaker,
        stretch=utterance.stretch,
    )


def pointers(ends: np.ndarray, steps: int) -> np.ndarray:
    """The phone under the middle of each step. ends [P] in hops -> [steps]"""
    middle = np.arange(steps) * FRAMES_PER_CODE + FRAMES_PER_CODE // 2
    return np.asarray(np.minimum(np.searchsorted(ends, middle, side="right"), len(ends) - 1))


def step_features(one: Example) -> dict[str, np.ndarray]:
    """All inputs of the LM but its codes, each [T] and `phones` [T, 8]."""
    pointer = pointers(one.ends, len(one.codes))
    begin = np.arange(len(one.codes)) * FRAMES_PER_CODE
    padded = np.pad(one.phones, (-WINDOW[0], WINDOW[-1]))
    lasts = np.diff(one.ends, prepend=0)
    distance, kind = pause_features(one.pauses)
    return {
        "phones": padded[pointer[:, None] - WINDOW[0] + np.array(WINDOW)],
        "since": np.clip(begin - (one.ends - lasts)[pointer], *SINCE) - SINCE[0],
        "left": np.clip(one.ends[pointer] - begin, *LEFT) - LEFT[0],
        "following": np.clip(np.append(lasts, 0)[pointer + 1], *FOLLOWING) - FOLLOWING[0],
        "to_pause": distance[pointer],
        "pause_type": kind[pointer],
        "speaker": np.full(len(one.codes), one.speaker),
    }


def collate(examples: list[Example], noise: np.random.Generator | None = None) -> tuple[LmInputs, torch.Tensor]:
    """Pads to one length. Returns inputs and code targets [B, T] (IGNORED where padded).

    With `noise`, a few input codes move one level in one dimension: the model sees its own small mistakes.
    """
    rows, length = len(examples), max(len(one.codes) for one in examples)
    targets = np.full((rows, length), IGNORED)
    fields: dict[str, np.ndarray] = {"code": np.zeros((rows, length), int)}
    for row, one in enumerate(examples):
        count = len(one.codes)
        history = one.codes if noise is None else _disturb(one.codes, noise)
        fields["code"][row, 0] = BEGIN_CODE
        fields["code"][row, 1:count] = history[:-1]
        targets[row, :count] = one.codes
        for name, values in step_features(one).items():
            into = fields.setdefault(name, np.zeros((rows, length, *values.shape[1:]), int))
            into[row, :count] = values
    return LmInputs(**{name: torch.from_numpy(values) for name, values in fields.items()}), torch.from_numpy(targets)


def _disturb(codes: np.ndarray, noise: np.random.Generator, share: float = 0.12) -> np.ndarray:
    chosen = noise.random(len(codes)) < share
    dimension = 8 ** noise.integers(0, 4, len(codes))
    digit = codes // dimension % 8
    step = np.where(digit == 0, 1, np.where(digit == 7, -1, noise.choice([-1, 1], len(codes))))
    return np.asarray(np.where(chosen, codes + step * dimension, codes))
