"""The bundle of a pocket-tts model, read strictly: every field known and typed, every file with its hash.

manifest.json  step.onnx  prefill.onnx  decoder.onnx  tokenizer.json  VOICE.npy
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engines.errors import BundleError, UnknownVoice

FORMAT, FAMILY = 5, "pocket"
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Voice(Section, frozen=True, kw_only=True):
    id: str
    name: str
    description: str
    file: str
    positions: Positive  # that the voice takes in a slot
    licence: str
    source: str


class TextRules(Section, frozen=True, kw_only=True):
    """How text is written before the model reads it."""

    vocabulary: Positive
    replaced: dict[str, str]  # character to what stands for it
    removes_semicolons: bool
    adds_full_stop: bool
    capitalises: bool


class End(Section, frozen=True, kw_only=True):
    threshold: float  # of the end logit
    ignored_frames: Count  # at a chunk's beginning, where the logit may rise before speech
    frames_after: Positive | None = None  # where the model recommends a number


class SpeechModel(Section, frozen=True, kw_only=True):
    layers: Positive
    kv_heads: Positive
    head_dim: Positive
    positions: Positive  # of a slot
    first_frame: tuple[float, ...]  # what the first step of a chunk sees as its last frame

    @property
    def bytes_per_position(self) -> int:
        return 2 * 4 * self.layers * self.kv_heads * self.head_dim


class State(Section, frozen=True, kw_only=True):
    name: str
    shape: tuple[Positive, ...]


class Decoder(Section, frozen=True, kw_only=True):
    steps_per_frame: Positive
    states: tuple[State, ...]


class Manifest(Section, frozen=True, kw_only=True):
    format: int
    family: Literal["pocket"]
    name: str
    version: str
    sample_rate_hz: Positive
    hop_length: Positive  # samples of a frame
    text: TextRules
    end: End
    lm: SpeechModel
    decoder: Decoder
    voices: tuple[Voice, ...]
    temperature: float
    files: dict[str, str]  # sha256 by name
    licences: list[str]
    provenance: dict[str, Any]
    quality: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.voices:
            raise ValueError("voices is empty, a bundle needs at least one")
        if len({voice.id for voice in self.voices}) != len(self.voices):
            raise ValueError(f"two voices have one id: {[voice.id for voice in self.voices]}")
        longest = max(voice.positions for voice in self.voices)
        if longest >= self.lm.positions:
            raise ValueError(f"a voice takes {longest} positions of a slot's {self.lm.positions}: no speech fits")
        for used in ("step.onnx", "prefill.onnx", "decoder.onnx", "tokenizer.json", *(one.file for one in self.voices)):
            if used not in self.files:
                raise ValueError(f"{used!r} is used but has no hash under 'files'")


class Bundle(Manifest, frozen=True, kw_only=True):
    """A manifest whose files were found and have the hashes that it states."""

    folder: Path
    digest: str  # of the manifest, which holds the digests of all files

    @property
    def frame_s(self) -> float:
        return self.hop_length / self.sample_rate_hz

    @property
    def frame_width(self) -> int:
        return len(self.lm.first_frame)

    def voice(self, voice_id: str) -> Voice:
        for voice in self.voices:
            if voice.id == voice_id:
                return voice
        raise UnknownVoice(f"voice {voice_id!r} is not in this bundle; valid: {', '.join(v.id for v in self.voices)}")


def load(folder: Path) -> Bundle:
    """Raises BundleError, which names the field and what would be right."""
    folder = folder.resolve()
    path = folder / "manifest.json"
    try:
        text = path.read_bytes()
        content = msgspec.json.decode(text)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not a readable manifest: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else content
        raise BundleError(f"manifest format {found!r} is not supported, this version reads {FORMAT}: export it again")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        problem, place = (match["problem"], match["path"] or "") if match else (str(error), "")
        raise BundleError(f"manifest{place}: {problem}") from error
    for name, digest in manifest.files.items():
        _check_file(folder, name, digest)
    fields = msgspec.structs.asdict(manifest)
    return Bundle(**fields, folder=folder, digest=hashlib.sha256(text).hexdigest())


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = (folder / name).resolve()
    if path.parent != folder or not path.is_file():
        raise BundleError(f"file {name!r} is not inside the bundle {folder.name!r}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise BundleError(f"{name} has sha256 {found}, the manifest says {digest}")
