"""A Qwen3-TTS bundle, read strictly: every field known and typed, every file with its hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from engines.errors import BundleError, UnknownVoice
from engines.families.base import VoiceSpec
from engines.families.qwen3_tts.section import Part, Qwen3TtsSection

FORMAT, FAMILY = 5, "qwen3_tts"
NO_SPEAKER = "default"  # the voice of a checkpoint without named speakers: the model's own choice
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)


class Manifest(Part, frozen=True, kw_only=True):
    format: Literal[5]
    family: Literal["qwen3_tts"]
    name: str
    version: str
    qwen3_tts: Qwen3TtsSection
    files: dict[str, str]  # sha256 by name
    licences: list[str]
    provenance: dict[str, Any]
    quality: dict[str, Any]

    def __post_init__(self) -> None:
        section = self.qwen3_tts
        used = [section.talker.step, section.talker.prefill, section.vocoder.file, section.text.tokenizer]
        if section.cloning is not None:
            used += [section.cloning.speaker_encoder, section.cloning.codec_encoder]
        for name in used:
            if name not in self.files:
                raise ValueError(f"{name!r} is used but has no hash under 'files'")


class Bundle(Manifest, frozen=True, kw_only=True):
    """A manifest whose files were found and have the hashes that it states."""

    folder: Path
    digest: str  # of the manifest, which holds the digests of all files
    voices: tuple[VoiceSpec, ...]  # of the checkpoint; cloned ones come and go beside them

    def voice(self, voice_id: str) -> VoiceSpec:
        for voice in self.voices:
            if voice.id == voice_id:
                return voice
        valid = ", ".join(voice.id for voice in self.voices)
        raise UnknownVoice(f"voice {voice_id!r} is not in this bundle; valid: {valid}")


def load(folder: Path) -> Bundle:
    """Raises BundleError, which names the field and what would be right."""
    folder = folder.resolve()
    path = folder / "manifest.json"
    try:
        text = path.read_bytes()
        content = msgspec.json.decode(text)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not a readable manifest: {error}") from error
    found = content.get("format") if isinstance(content, dict) else content
    if found != FORMAT:
        raise BundleError(f"manifest format {found!r} is not supported, this version reads {FORMAT}: export it again")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        problem, place = (match["problem"], match["path"] or "") if match else (str(error), "")
        raise BundleError(f"manifest{place}: {problem}") from error
    for name, sha256 in manifest.files.items():
        _check_file(folder, name, sha256)
    return Bundle(
        **msgspec.structs.asdict(manifest),
        folder=folder,
        digest=hashlib.sha256(text).hexdigest(),
        voices=_voices(manifest.qwen3_tts),
    )


def _voices(section: Qwen3TtsSection) -> tuple[VoiceSpec, ...]:
    dialects = section.codec.dialects
    named = [
        VoiceSpec(id=one, name=one.title(), description=f"speaks {dialects[one]}" if one in dialects else "")
        for one in section.codec.speakers
    ]
    return tuple(named) or (VoiceSpec(id=NO_SPEAKER, name="Default", description="a voice of the model's choice"),)


def _check_file(folder: Path, name: str, sha256: str) -> None:
    path = (folder / name).resolve()
    if path.parent != folder or not path.is_file():
        raise BundleError(f"file {name!r} is not inside the bundle {folder.name!r}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise BundleError(f"{name} has sha256 {found}, the manifest says {sha256}")
