"""How long each phone lasts: a small network over the phones around it, and what it is trained on.

The teacher's durations are a function of the text, so they are planned before the speech model speaks: it then knows
when a phone ends before it is half way through, words have exact times, and nothing can be held, skipped or looped.
The window looks no further ahead than serving can see (`engines.families.phone_pointer.durations`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.lm_data import Example

# Phones around the one that is timed. How long a run of words has gone on decides its pace, so it sees some words back;
# it waits for no more than the speech model waits for anyway (`look_ahead_phones` less the pointer's own two).
WINDOW = tuple(range(-20, 7))
PAUSE_TYPES = 5
TYPICAL_HOPS = 8.0
OPENING_HOPS = 3  # of the pause that begins every segment; in training it was cut to 2 to 6
CLOSING_HOPS = 10  # of silence behind every utterance, so that two in a row are as far apart as the teacher's sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationConfig:
    voices: int
    num_phone_ids: int
    width: int = 256
    phone_width: int = 24
    dropout: float = 0.0  # in training only; the teacher is a function, so nothing is gained by forgetting


class DurationNet(nn.Module):
    def __init__(self, config: DurationConfig) -> None:
        super().__init__()
        self.config = config
        self.phone = nn.Embedding(config.num_phone_ids, config.phone_width)
        self.pause = nn.Embedding(PAUSE_TYPES, config.phone_width)
        self.speaker = nn.Embedding(config.voices, config.width)
        self.stretch = nn.Linear(1, config.width, bias=False)
        self.enter = nn.Linear(config.phone_width * len(WINDOW), config.width)
        self.inner = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(2))
        self.leave = nn.Linear(config.width, 1)
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.phone, self.pause, self.speaker):
            nn.init.normal_(table.weight, 0, 0.3)
        nn.init.constant_(self.leave.bias, float(np.log(TYPICAL_HOPS)))

    def forward(self, phones: Tensor, pauses: Tensor, speaker: Tensor, stretch: Tensor) -> Tensor:
        """phones and pauses [N, W] (ids and pause types, 0 outside the segment), speaker [N], stretch [N] (log)
        -> log of the expected hops [N]"""
        seen = (self.phone(phones) + self.pause(pauses)).flatten(-2)
        x = self.dropout(F.relu(self.enter(seen) + self.speaker(speaker) + self.stretch(stretch[:, None])))
        for layer in self.inner:
            x = x + self.dropout(F.relu(layer(x)))
        expected: Tensor = self.leave(x)[:, 0] + stretch
        return expected


@dataclass(frozen=True, slots=True)
class TimedPhones:
    """N phones of many utterances, opening pauses left out: their length is chosen, not learned."""

    phones: Tensor  # [N, W]
    pauses: Tensor  # [N, W]
    speaker: Tensor  # [N]
    stretch: Tensor  # [N]
    hops: Tensor  # [N] float

    @classmethod
    def of(cls, examples: list[Example]) -> TimedPhones:
        columns: list[list[np.ndarray]] = [[] for _ in range(5)]
        for one in examples:
            places = np.arange(1, len(one.phones))[:, None] - WINDOW[0] + np.array(WINDOW)
            for column, values in zip(
                columns,
                (
                    _padded(one.phones)[places],
                    _padded(one.pauses)[places],
                    np.full(len(places), one.speaker),
                    np.full(len(places), np.log(one.stretch), np.float32),
                    np.diff(one.ends).astype(np.float32),
                ),
                strict=True,
            ):
                column.append(values)
        return cls(*(torch.from_numpy(np.concatenate(column)) for column in columns))

    def __len__(self) -> int:
        return len(self.hops)

    @property
    def _columns(self) -> tuple[Tensor, ...]:
        return self.phones, self.pauses, self.speaker, self.stretch, self.hops

    def rows(self, chosen: Tensor) -> TimedPhones:
        return TimedPhones(*(values[chosen] for values in self._columns))

    @classmethod
    def joined(cls, parts: list[TimedPhones]) -> TimedPhones:
        return cls(*(torch.cat(columns) for columns in zip(*(part._columns for part in parts), strict=True)))


def expected_log_hops(network: DurationNet, some: TimedPhones) -> Tensor:
    log_hops: Tensor = network(some.phones, some.pauses, some.speaker, some.stretch)
    return log_hops


def loss(network: DurationNet, some: TimedPhones) -> Tensor:
    """Poisson deviance without its constant: what minimises it has the right mean, so long texts keep their length."""
    log_hops = expected_log_hops(network, some)
    return (torch.exp(log_hops) - some.hops * log_hops).mean()


def _padded(values: np.ndarray) -> np.ndarray:
    return np.pad(values, (-WINDOW[0], WINDOW[-1]))


def feature_offsets(config: DurationConfig) -> dict[str, int]:
    """First rows in `input_table`."""
    pauses = len(WINDOW) * config.num_phone_ids
    return {"phones": 0, "pauses": pauses, "speaker": pauses + len(WINDOW) * PAUSE_TYPES}


@torch.no_grad()
def input_table(network: DurationNet) -> Tensor:
    """What `enter` adds up as rows of one table [R, D]: ids for each place of the window, pauses for each, voices."""
    mixed = network.enter.weight.view(-1, len(WINDOW), network.config.phone_width)
    phones = [network.phone.weight @ mixed[:, place].T for place in range(len(WINDOW))]
    pauses = [network.pause.weight @ mixed[:, place].T for place in range(len(WINDOW))]
    return torch.cat([*phones, *pauses, network.speaker.weight + network.enter.bias])


def feature_rows(config: DurationConfig, some: TimedPhones) -> Tensor:
    """-> [N, F] rows of `input_table`"""
    offsets, places = feature_offsets(config), torch.arange(len(WINDOW))
    phones = some.phones + offsets["phones"] + places * config.num_phone_ids
    pauses = some.pauses + offsets["pauses"] + places * PAUSE_TYPES
    return torch.cat([phones, pauses, some.speaker[:, None] + offsets["speaker"]], -1)
