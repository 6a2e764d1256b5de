"""Greedy codes from text: our prompt, sampling rules and networks beside the makers' `generate`, with and without
language, dialect, speaker, speaker embedding, instruction and reference recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen2TokenizerFast

from engines.families.base import ScriptState, Verdict
from engines.families.qwen3_tts.prompt import Rows, VoicePrefix
from engines.families.qwen3_tts.script import Qwen3TtsScript, Reference, depth_sampling, no_rows
from engines.families.qwen3_tts.section import Qwen3TtsSection
from engines.families.qwen3_tts.tokens import ids_of
from engines.text.plain import PlainText
from models.checkpoints.qwen3_tts.reader import Checkpoint
from models.exporting.qwen3_tts.manifest import section as section_of
from models.exporting.qwen3_tts.talker_graphs import frame_table
from models.exporting.qwen3_tts.tokenizer import built

TEXTS = [
    "Hello world, the quick brown fox speaks.",
    "Grüße, it's 12 o'clock!  Две   минуты\u2026 \u4f60\u597d\u3002",
    "One.",
]
FRAMES = 9


class TorchTalker:
    """Rows of a Script through the torch networks, greedily."""

    def __init__(self, checkpoint: Checkpoint, section: Qwen3TtsSection, speaker: Tensor | None) -> None:
        self._network, self._part, self._codec = checkpoint.talker(), section.talker, section.codec
        self._table = frame_table(self._network.state_dict(), self._network.config)
        self._speaker, self._past, self._last = speaker, None, np.zeros(self._part.codebooks, np.int64)
        self._generated = np.zeros(self._part.vocabulary, bool)
        self._made = 0

    def rows(self, rows: Any) -> Tensor:
        starts = np.concatenate([[0], self._part.vocabulary + np.arange(self._part.codebooks - 1) * self._part.codes])
        embedded = []
        for row in np.asarray(rows):
            codes = self._last + starts if row[1] == self._part.follow else row[1:]
            extra = self._speaker if row[1] == self._part.speaker else None
            codes = np.where(codes == self._part.speaker, self._part.nothing, codes)
            x = self._network.text(torch.tensor([row[0]]))[0] + self._table[torch.from_numpy(codes)].sum(0)
            embedded.append(x if extra is None else x + extra)
        hidden, logits, self._past = self._network(torch.stack(embedded)[None], self._past)
        self._logits = logits[0, -1]
        return hidden[:, -1]

    def step(self, row: Any, how: Any) -> tuple[np.ndarray, float]:
        hidden, logits = self.rows([row]), self._logits.clone()
        generated = torch.from_numpy(self._generated)
        damped = torch.where(logits < 0, logits * how.repetition_penalty, logits / how.repetition_penalty)
        logits = torch.where(generated, damped, logits)
        control = torch.arange(len(logits)) >= self._part.vocabulary - 1024
        control[self._codec.end] = self._made < how.min_frames
        first = logits.masked_fill(control, -torch.inf).argmax()[None]
        rest = self._network.code_predictor.greedy(hidden, self._network.model.codec_embedding(first))
        self._last = torch.cat([first, rest[0]]).numpy()
        self._generated[first] = True
        self._made += 1
        return self._last, float(first[0] == self._codec.end)


@torch.no_grad()
def _ours(
    checkpoint: Checkpoint,
    text: str,
    *,
    language: str | None = None,
    speaker: str | None = None,
    instruction: str = "",
    embedding: Tensor | None = None,
    reference: tuple[str, Tensor] | None = None,
) -> np.ndarray:
    tokenizer = built(checkpoint.folder)
    section = section_of(checkpoint, tokenizer, 512, [])
    spoken = section.codec.speakers.get(speaker or "", section.talker.speaker if embedding is not None else None)
    rows = list(Rows(section).opening(language, spoken))
    if instruction:
        rows = [*Rows(section).instruction(ids_of(tokenizer, instruction)), *rows]
    recorded = None
    if reference is not None:
        frames = Rows(section).reference(reference[1].numpy())
        recorded = Reference(text=tuple(ids_of(tokenizer, reference[0])), rows=frames)
    script = Qwen3TtsScript(
        section,
        PlainText(),
        tokenizer,
        depth_sampling(section, {"temperature": 0.0}),
        VoicePrefix(key=None, rows=no_rows(section)),
        rows,
        recorded,
    )
    for letter in text:  # fed as slowly as can be
        script.append(letter)
    script.end()
    while script.readable:
        script.read(3)
    talker, codes = TorchTalker(checkpoint, section, embedding), []
    while script.state is ScriptState.PREFILL:
        talker.rows(script.prompt(5))
    for _ in range(FRAMES):
        assert script.state is ScriptState.READY
        frame, end = talker.step(script.row(), script.sampling)
        if script.commit(frame, end, None) is Verdict.END_MARKER:
            break
        codes.append(frame)
    return np.array(codes)


@torch.no_grad()
def _expected(
    theirs: Any,
    folder: Path,
    text: str,
    *,
    language: str | None = None,
    speaker: str | None = None,
    instruction: str = "",
    embedding: Tensor | None = None,
    reference: tuple[str, Tensor] | None = None,
) -> np.ndarray:
    tokenizer = Qwen2TokenizerFast.from_pretrained(folder)

    def ids(string: str) -> Tensor:
        return tokenizer(string, return_tensors="pt").input_ids

    cloned = None
    if embedding is not None:
        cloned = {
            "ref_spk_embedding": [embedding],
            "x_vector_only_mode": [reference is None],
            "icl_mode": [reference is not None],
            "ref_code": None if reference is None else [reference[1]],
        }
    codes, _ = theirs.generate(
        input_ids=[ids(f"<|im_start|>assistant\n{text}<|im_end|>\n<|im_start|>assistant\n")],
        instruct_ids=[ids(f"<|im_start|>user\n{instruction}<|im_end|>\n") if instruction else None],
        ref_ids=[ids(f"<|im_start|>assistant\n{reference[0]}<|im_end|>\n")] if reference else None,
        voice_clone_prompt=cloned,
        languages=[language or "auto"],
        speakers=[speaker],
        do_sample=False,
        subtalker_dosample=False,
        max_new_tokens=FRAMES + 1,
    )
    return codes[0].numpy()


CASES = {
    "base": [
        {"embedding": 1},
        {"embedding": 2, "language": "german"},
        {"embedding": 3, "reference": ("good morning", 7)},
        {"embedding": 4, "reference": ("good morning everyone", 40), "language": "english"},
    ],
    "custom_voice": [
        {},
        {"language": "english"},
        {"speaker": "serena"},
        {"speaker": "aiden", "language": "french"},
        {"speaker": "dylan"},
        {"speaker": "dylan", "language": "chinese"},
        {"speaker": "serena", "instruction": "speak quickly, in a clear voice"},
    ],
    "voice_design": [{"instruction": "a deep voice"}, {"instruction": "Ärgerlich!\nloud", "language": "korean"}, {}],
}


@pytest.mark.parametrize("text", TEXTS)
def test_greedy_codes_from_text(
    checkpoint: Checkpoint,
    theirs: Any,
    folder: Path,
    text: str,
) -> None:
    config = checkpoint.config.talker_config
    for case in CASES[checkpoint.config.tts_model_type.value]:
        given: dict[str, Any] = dict(case)
        if "embedding" in given:
            generator = torch.Generator().manual_seed(given["embedding"])
            given["embedding"] = torch.randn(config.hidden_size, generator=generator) * 0.5
        if "reference" in given:
            recorded, count = given["reference"]
            shape = (count, config.num_code_groups)
            codes = torch.randint(0, config.codes, shape, generator=torch.Generator().manual_seed(count))
            given["reference"] = recorded, codes
        expected, found = _expected(theirs, folder, text, **given), _ours(checkpoint, text, **given)
        assert len(expected) >= 2, case
        np.testing.assert_array_equal(found[: len(expected)], expected[: len(found)], err_msg=str(case))
        assert len(found) == min(len(expected), FRAMES), case
