"""A Qwen3-TTS bundle, read strictly: every field known and typed, every file with its hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from engines.errors import BundleError
from engines.families.qwen3_tts.section import Part, Qwen3TtsSection

FORMAT, FAMILY = 5, "qwen3_tts"
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
    for name, digest in manifest.files.items():
        _check_file(folder, name, digest)
    return Bundle(**msgspec.structs.asdict(manifest), folder=folder, digest=hashlib.sha256(text).hexdigest())


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = (folder / name).resolve()
    if path.parent != folder or not path.is_file():
        raise BundleError(f"file {name!r} is not inside the bundle {folder.name!r}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise BundleError(f"{name} has sha256 {found}, the manifest says {digest}")
