"""A model folder, read strictly: a manifest whose head all families share, and files with the hashes that it states.

A family's bundle is a subclass of `Bundle` that adds the fields of its own; nothing here knows them. Loading refuses
whatever does not match, and runs no network. The returned values never change.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from msgspec import Meta, Struct

from engines.errors import BundleError, ConfigError, UnknownVoice
from engines.families.shipped import SHIPPED

FORMAT = 5  # 5: the manifest names its family; 4: the LM's graph gives no states, drafts need none
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the manifest: every field is known, typed and given."""


class Voice(Section, frozen=True, kw_only=True):
    id: str
    name: str
    description: str
    pitch: Literal["low", "high"] | None = None  # beside other voices; names known from elsewhere are dealt by it


class Bundle(Section, frozen=True, kw_only=True):
    FAMILY: ClassVar[str]
    CHOOSES_LANGUAGE: ClassVar[bool] = False  # a request does, by the option `language`

    format: int
    family: str
    name: str
    version: str
    files: dict[str, str]  # sha256 by name
    licences: list[str]
    provenance: dict[str, Any]
    quality: dict[str, Any]
    folder: Path = Path()  # where it was found
    digest: str = ""  # of the manifest, which holds the digests of all files

    @property
    def voices(self) -> tuple[Voice, ...]:
        raise NotImplementedError

    @property
    def languages(self) -> tuple[str, ...]:
        """That the model speaks, by their English names in small letters."""
        return ("english",)

    @property
    def used_files(self) -> Iterable[str]:
        """Those that the family reads."""
        raise NotImplementedError

    def voice(self, voice_id: str) -> Voice:
        for voice in self.voices:
            if voice.id == voice_id:
                return voice
        raise UnknownVoice(f"voice {voice_id!r} is not in this bundle; valid: {', '.join(v.id for v in self.voices)}")

    def check_draft_tolerance(self, tolerance: int) -> None:
        """Raises ConfigError where it cannot be kept, so that no mode is promised that does not run."""
        if tolerance:
            raise ConfigError(f"draft_tolerance {tolerance} needs drafts, the bundle {self.name!r} brings none")

    @classmethod
    def load(cls, folder: Path, *, checks_files: bool = True) -> Self:
        """Without `checks_files` where they have just been checked: to hash large ones takes seconds.

        Raises BundleError, which names the field, its value and what would be right.
        """
        folder = folder.resolve()
        text, content = _read(folder)
        if content.get("family") != cls.FAMILY:
            raise BundleError(f"manifest.family is {content.get('family')!r}, right is {cls.FAMILY!r}")
        if unknown := {"folder", "digest"} & content.keys():
            raise BundleError(f"manifest: unknown field `{min(unknown)}`")
        try:
            found = msgspec.json.decode(text, type=cls)
        except msgspec.ValidationError as error:
            raise BundleError(_explained(str(error), content)) from error
        if checks_files:
            _check_files(folder, found)
        return msgspec.structs.replace(found, folder=folder, digest=hashlib.sha256(text).hexdigest())

    def __post_init__(self) -> None:
        if not self.voices:
            raise ValueError("voices is empty, a bundle needs at least one")
        if len({voice.id for voice in self.voices}) != len(self.voices):
            raise ValueError(f"two voices have one id: {[voice.id for voice in self.voices]}")


def family_of(folder: Path) -> Any:
    """What its manifest says; None where it says nothing. Raises BundleError."""
    return _read(folder)[1].get("family")


def _read(folder: Path) -> tuple[bytes, dict[str, Any]]:
    path = folder / "manifest.json"
    if not folder.exists():
        raise BundleError(f"{folder} does not exist; name a model's folder, or one that ships: {', '.join(SHIPPED)}")
    try:
        text = path.read_bytes()
        content = msgspec.json.decode(text)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not a readable manifest: {error}") from error
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise BundleError(f"manifest must be an object with a format, this version reads format {FORMAT}")
    found = content["format"]
    if found != FORMAT:
        older = "; it is of another layout since: export it again" if found < FORMAT else ""
        raise BundleError(f"manifest format {found} is not supported, this version reads {FORMAT}{older}")
    return text, content


def _explained(error: str, content: Any) -> str:
    """msgspec names the place and what is right there; this adds the value that was found."""
    match = _AT.fullmatch(error)
    problem, path = (match["problem"], match["path"] or "") if match else (error, "")
    value = content
    for key, index in _STEP.findall(path):
        if index == "..." or not isinstance(value, dict | list):
            value = {}  # msgspec does not say which element
            break
        value = value[int(index)] if index else value[key]
    found = "" if isinstance(value, dict) else f" ({value!r})"
    return f"manifest{path}: {problem}{found}"


def _check_files(folder: Path, bundle: Bundle) -> None:
    for name, digest in bundle.files.items():
        path = (folder / name).resolve()
        if path.parent != folder or not path.is_file():
            raise BundleError(f"file {name!r} is not inside the bundle {folder.name!r}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise BundleError(f"{name} has sha256 {found}, the manifest says {digest}")
    for used in bundle.used_files:
        if used not in bundle.files:
            raise BundleError(f"{used!r} is used but has no hash under 'files'")
    for path in folder.iterdir():  # a graph may draw its weights from a file of their own
        if path.suffix in (".onnx", ".weights") and path.name not in bundle.files:
            raise BundleError(f"{path.name!r} has no hash under 'files'")
