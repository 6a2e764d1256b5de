"""What the talker is given while it is watched or compared: lines as the served family feeds them, not random ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.families.base import IntArray
from engines.families.qwen3_tts.prompt import Rows
from engines.families.qwen3_tts.section import Qwen3TtsSection

WATCHED = (
    "Good morning, everyone! The trains to Paris leave at half past nine, from platform four.",
    "你好,很高兴认识你。今天的天气真不错,我们一起去公园走走吧。",
    "Entschuldigung, könnten Sie das bitte noch einmal langsam erklären? Ich habe nicht alles verstanden.",
)
COMPARED = "Well, I never thought that we would see each other again in such a quiet place."  # not among the watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The first step reads the last row of `codes`, each later one its frame before; `text` goes on beside them."""

    text: IntArray  # [1, opening + steps]
    codes: IntArray  # [1, opening + 1, Q]: rows of the frame table

    @property
    def opening(self) -> int:
        return self.codes.shape[1] - 1


def prompt(section: Qwen3TtsSection, tokenizer: Any, line: str, steps: int) -> Prompt:
    """The first named speaker reads the line, or the model's own voice where it has none."""
    rows = Rows(section)
    opening = [*rows.opening(None, next(iter(section.codec.speakers.values()), None)), *rows.reference(())]
    ids = [*tokenizer.encode(line, add_special_tokens=False).ids[: steps - 1], section.text.end]
    ids += [section.text.pad] * (steps - len(ids))
    table = np.stack(opening)
    return Prompt(text=np.concatenate([table[:-1, 0], ids])[None], codes=table[None, :, 1:])
