"""A model folder, read strictly: manifest, hashes, shapes. Loading refuses whatever does not match.

Nothing here runs a network; `engines.runtime` does. The returned values never change.
"""

from __future__ import annotations

import hashlib
import math
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engines.errors import BundleError, UnknownVoice

FORMAT = 4  # 4: the LM's graph gives no states, drafts need none; 3: the vocoder takes weights of voices and a pitch
_FEATURES = {"code", "phones", "since", "left", "following", "to_pause", "pause_type", "speaker"}
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Range = tuple[int, int]  # least and greatest


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the manifest: every field is known, typed and given."""


class Voice(Section, frozen=True, kw_only=True):
    id: str
    name: str
    index: int
    description: str


class Codes(Section, frozen=True, kw_only=True):
    pattern: Literal["flat"]  # one code a step
    levels: tuple[int, ...]
    count: Positive
    begin: Positive  # fed before the first code of a segment

    def __post_init__(self) -> None:
        if math.prod(self.levels) != self.count:
            raise ValueError(f"levels {self.levels} make {math.prod(self.levels)} codes, not {self.count}")


class PointerAdapter(Section, frozen=True, kw_only=True):
    """What the `pointer` input adapter shows the LM at each step: rows of one table, whose vectors are added up.

    `offsets` tells each feature's first row: code, phones (one block of ids for each place of the window), since, left,
    following, to_pause, pause_type, speaker.
    """

    kind: Literal["pointer"]
    window: tuple[int, ...]
    look_ahead_phones: Positive
    since: Range  # hops from the phone's beginning to the step's: least and greatest that are told apart
    left: Range  # hops from the step's beginning to the phone's end
    following: Range  # hops of the next phone
    num_phone_ids: Positive
    max_steps: Positive  # longest segment, in codes
    offsets: dict[str, Count]

    def __post_init__(self) -> None:
        for name in ("since", "left", "following"):
            least, greatest = getattr(self, name)
            if least >= greatest:
                raise ValueError(f"{name} must be a least and a greatest value, got {[least, greatest]}")
        if self.window[-1] > self.look_ahead_phones:
            raise ValueError(f"window {self.window} sees further than look_ahead_phones {self.look_ahead_phones}")
        if set(self.offsets) != _FEATURES:
            raise ValueError(f"offsets must give a row for each of {sorted(_FEATURES)}, got {self.offsets!r}")

    @property
    def features(self) -> int:
        """Rows that one step adds up."""
        return len(self.offsets) - 1 + len(self.window)


class Durations(Section, frozen=True, kw_only=True):
    """The network that plans when phones end. Its features are rows of one table too: a block of ids for each place of
    the window, a block of pause types for each, the voices."""

    file: str
    window: tuple[int, ...]
    rows: Positive  # of every call
    opening_hops: Positive  # of the pause that begins a segment
    closing_hops: Count  # of silence behind the last code of an utterance
    num_phone_ids: Positive
    num_pause_types: Positive
    phones: int  # first row of each
    pauses: int
    speaker: int

    @property
    def features(self) -> int:
        return 2 * len(self.window) + 1


class Lm(Section, frozen=True, kw_only=True):
    file: str
    layers: Positive
    kv_heads: Positive
    head_dim: Positive
    width: Positive


class StateSlot(Section, frozen=True, kw_only=True):
    """One state tensor of the vocoder, without its batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"]


class Vocoder(Section, frozen=True, kw_only=True):
    file: str
    states: tuple[StateSlot, ...]


class Drafts(Section, frozen=True, kw_only=True):
    """A drafter: `length` codes guessed at once.

    `greedy` guesses what is likeliest, which is all that most requests ask for; `sampled` takes temperature and noise
    too. `verify` is the LM over length + 1 steps of one row, bit for bit what single steps make.
    """

    greedy: str
    sampled: str
    verify: str
    length: Positive


class Defaults(Section, frozen=True, kw_only=True):
    temperature: float


class Manifest(Section, frozen=True, kw_only=True):
    format: int
    name: str
    version: str
    sample_rate_hz: Positive
    hop_length: Positive
    frames_per_code: Positive
    window_samples: Positive
    codes: Codes
    adapter: PointerAdapter
    durations: Durations
    lm: Lm
    vocoder: Vocoder
    drafts: Drafts | None = None
    voices: tuple[Voice, ...]
    defaults: Defaults
    files: dict[str, str]  # sha256 by name
    licences: list[str]
    provenance: dict[str, Any]
    quality: dict[str, Any]

    def __post_init__(self) -> None:
        if self.window_samples <= self.hop_length:
            raise ValueError(f"window_samples {self.window_samples} must exceed hop_length {self.hop_length}")
        self._check_sight()
        self._check_voices()

    def _check_sight(self) -> None:
        """The next phones' ends, up to that of a step later, must lie inside the look-ahead."""
        allowed = self.adapter.look_ahead_phones - 2
        if self.durations.window[-1] > allowed:
            raise ValueError(
                f"durations.window {self.durations.window} sees further than look_ahead_phones "
                f"{self.adapter.look_ahead_phones} allows: its last place may be {allowed}"
            )

    def _check_voices(self) -> None:
        if not self.voices:
            raise ValueError("voices is empty, a bundle needs at least one")
        numbers = [voice.index for voice in self.voices]
        if sorted(numbers) != list(range(len(numbers))):
            raise ValueError(f"voices are numbered {numbers}, right is 0 to {len(numbers) - 1}")
        if len({voice.id for voice in self.voices}) != len(self.voices):
            raise ValueError(f"two voices have one id: {[voice.id for voice in self.voices]}")


class Bundle(Manifest, frozen=True, kw_only=True):
    """A manifest whose files were found and have the hashes that it states."""

    folder: Path
    digest: str  # of the manifest, which holds the digests of all files

    @property
    def temperature(self) -> float:
        return self.defaults.temperature

    @property
    def samples_per_code(self) -> int:
        return self.hop_length * self.frames_per_code

    @property
    def look_back(self) -> int:
        return self.window_samples - self.hop_length

    @property
    def code_s(self) -> float:
        return self.samples_per_code / self.sample_rate_hz

    @property
    def hop_s(self) -> float:
        return self.hop_length / self.sample_rate_hz

    def voice(self, voice_id: str) -> Voice:
        for voice in self.voices:
            if voice.id == voice_id:
                return voice
        raise UnknownVoice(f"voice {voice_id!r} is not in this bundle; valid: {', '.join(v.id for v in self.voices)}")


def default_bundle() -> Path:
    """The shipped voice."""
    return Path(str(resources.files("engines").joinpath("bundles", "flite")))


def load_bundle(folder: Path | None = None) -> Bundle:
    """Raises BundleError, which names the field, its value and what would be right."""
    folder = (folder or default_bundle()).resolve()
    path = folder / "manifest.json"
    try:
        text = path.read_bytes()
        content = msgspec.json.decode(text)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not a readable manifest: {error}") from error
    _check_format(content)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(_explained(str(error), content)) from error
    _check_files(folder, manifest)
    fields = msgspec.structs.asdict(manifest)
    return Bundle(**fields, folder=folder, digest=hashlib.sha256(text).hexdigest())


def _check_format(content: Any) -> None:
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise BundleError(f"manifest must be an object with a format, this version reads format {FORMAT}")
    found = content["format"]
    if found != FORMAT:
        older = "; its graphs take and give other things since: export it again" if found < FORMAT else ""
        raise BundleError(f"manifest format {found} is not supported, this version reads {FORMAT}{older}")


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


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, digest in manifest.files.items():
        path = (folder / name).resolve()
        if path.parent != folder or not path.is_file():
            raise BundleError(f"file {name!r} is not inside the bundle {folder.name!r}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise BundleError(f"{name} has sha256 {found}, the manifest says {digest}")
    drafts = manifest.drafts
    guesses = [drafts.greedy, drafts.sampled, drafts.verify] if drafts else []
    for used in (manifest.durations.file, manifest.lm.file, manifest.vocoder.file, *guesses):
        if used not in manifest.files:
            raise BundleError(f"{used!r} is used but has no hash under 'files'")
    for path in folder.iterdir():  # a graph may draw its weights from a file of their own
        if path.suffix in (".onnx", ".weights") and path.name not in manifest.files:
            raise BundleError(f"{path.name!r} has no hash under 'files'")
