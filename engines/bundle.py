"""A model folder, read strictly: manifest, hashes, shapes. Loading refuses whatever does not match.

Nothing here runs a network; `engines.runtime` does. The returned dataclasses never change.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from engines.errors import BundleError, UnknownVoice

FORMAT = 4  # 4: the LM's graph gives no states, drafts need none; 3: the vocoder takes weights of voices and a pitch
_DTYPES = ("float32", "int64")
_FEATURES = {"code", "phones", "since", "left", "following", "to_pause", "pause_type", "speaker"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    id: str
    name: str
    index: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    pattern: str  # "flat": one code a step
    levels: tuple[int, ...]
    count: int
    begin: int  # fed before the first code of a segment


@dataclass(frozen=True, slots=True, kw_only=True)
class PointerAdapter:
    """What the `pointer` input adapter shows the LM at each step: rows of one table, whose vectors are added up.

    `offsets` tells each feature's first row: code, phones (one block of ids for each place of the window), since, left,
    following, to_pause, pause_type, speaker.
    """

    window: tuple[int, ...]
    look_ahead_phones: int
    since: tuple[int, int]  # hops from the phone's beginning to the step's: least and greatest that are told apart
    left: tuple[int, int]  # hops from the step's beginning to the phone's end
    following: tuple[int, int]  # hops of the next phone
    num_phone_ids: int
    max_steps: int  # longest segment, in codes
    offsets: dict[str, int]

    @property
    def features(self) -> int:
        """Rows that one step adds up."""
        return len(self.offsets) - 1 + len(self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """The network that plans when phones end. Its features are rows of one table too: a block of ids for each place of
    the window, a block of pause types for each, the voices."""

    file: str
    window: tuple[int, ...]
    rows: int  # of every call
    opening_hops: int  # of the pause that begins a segment
    closing_hops: int  # of silence behind the last code of an utterance
    num_phone_ids: int
    num_pause_types: int
    phones: int  # first row of each
    pauses: int
    speaker: int

    @property
    def features(self) -> int:
        return 2 * len(self.window) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lm:
    file: str
    layers: int
    kv_heads: int
    head_dim: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSlot:
    """One state tensor of the vocoder, without its batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocoder:
    file: str
    states: tuple[StateSlot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    """A drafter: `length` codes guessed at once.

    `greedy` guesses what is likeliest, which is all that most requests ask for; `sampled` takes temperature and noise
    too. `verify` is the LM over length + 1 steps of one row, bit for bit what single steps make.
    """

    greedy: str
    sampled: str
    verify: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    folder: Path
    name: str
    version: str
    digest: str  # of the manifest, which holds the digests of all files
    sample_rate_hz: int
    hop_length: int
    frames_per_code: int
    window_samples: int
    codes: Codes
    adapter: PointerAdapter
    durations: Durations
    lm: Lm
    vocoder: Vocoder
    drafts: Drafts | None
    voices: tuple[Voice, ...]
    temperature: float

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
    folder = (folder or default_bundle()).resolve()
    path = folder / "manifest.json"
    try:
        text = path.read_bytes()
        manifest = json.loads(text)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is not a readable manifest: {error}") from error
    fields = _Fields(manifest, "manifest")
    if fields.take("format", int) != FORMAT:
        found = manifest["format"]
        older = "; its graphs take and give other things since: export it again" if found < FORMAT else ""
        raise BundleError(f"manifest format {found} is not supported, this version reads {FORMAT}{older}")
    _check_files(folder, fields.take("files", dict))
    bundle = _parse(folder, fields, hashlib.sha256(text).hexdigest())
    fields.finish()
    drafts = [bundle.drafts.greedy, bundle.drafts.sampled, bundle.drafts.verify] if bundle.drafts else []
    for used in (bundle.durations.file, bundle.lm.file, bundle.vocoder.file, *drafts):
        if used not in manifest["files"]:
            raise BundleError(f"{used!r} is used but has no hash under 'files'")
    return bundle


class _Fields:
    """A JSON object whose keys must all be taken, each with its type."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(f"{where} must be an object, got {type(value).__name__}")
        self.where, self.left = where, dict(value)

    def take(self, key: str, kind: type) -> Any:
        if key not in self.left:
            raise BundleError(f"{self.where} lacks {key!r}")
        value = self.left.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BundleError(f"{self.where}.{key} must be {kind.__name__}, got {value!r}")
        return value

    def positive(self, key: str) -> int:
        value: int = self.take(key, int)
        if value < 1:
            raise BundleError(f"{self.where}.{key} must be at least 1, got {value}")
        return value

    def count(self, key: str) -> int:
        value: int = self.take(key, int)
        if value < 0:
            raise BundleError(f"{self.where}.{key} must be at least 0, got {value}")
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        values = self.take(key, list)
        if not all(type(value) is int for value in values):
            raise BundleError(f"{self.where}.{key} must hold integers, got {values!r}")
        return tuple(values)

    def object(self, key: str) -> _Fields:
        return _Fields(self.take(key, dict), f"{self.where}.{key}")

    def finish(self) -> None:
        if self.left:
            raise BundleError(f"{self.where} has unknown keys: {', '.join(sorted(self.left))}")


def _check_files(folder: Path, files: dict[str, Any]) -> None:
    for name, digest in files.items():
        path = (folder / name).resolve()
        if path.parent != folder or not path.is_file():
            raise BundleError(f"file {name!r} is not inside the bundle {folder.name!r}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != digest:
            raise BundleError(f"{name} has sha256 {found}, the manifest says {digest}")
    for path in folder.iterdir():  # a graph may draw its weights from a file of their own
        if path.suffix in (".onnx", ".weights") and path.name not in files:
            raise BundleError(f"{path.name!r} has no hash under 'files'")


def _parse(folder: Path, fields: _Fields, digest: str) -> Bundle:
    defaults = fields.object("defaults")
    temperature = defaults.take("temperature", float)
    defaults.finish()
    for informative, kind in (("licences", list), ("provenance", dict), ("quality", dict)):
        fields.take(informative, kind)
    bundle = Bundle(
        folder=folder,
        name=fields.take("name", str),
        version=fields.take("version", str),
        digest=digest,
        sample_rate_hz=fields.positive("sample_rate_hz"),
        hop_length=fields.positive("hop_length"),
        frames_per_code=fields.positive("frames_per_code"),
        window_samples=fields.positive("window_samples"),
        codes=_codes(fields.object("codes")),
        adapter=_adapter(fields.object("adapter")),
        durations=_durations(fields.object("durations")),
        lm=_lm(fields.object("lm")),
        vocoder=_vocoder(fields.object("vocoder")),
        drafts=_drafts(fields.object("drafts")) if "drafts" in fields.left else None,
        voices=_voices(fields.take("voices", list)),
        temperature=temperature,
    )
    _check_sight(bundle)
    if bundle.window_samples <= bundle.hop_length:
        raise BundleError(f"window_samples {bundle.window_samples} must exceed hop_length {bundle.hop_length}")
    return bundle


def _check_sight(bundle: Bundle) -> None:
    """The next phones' ends, up to that of a step later, must lie inside the look-ahead."""
    furthest = bundle.durations.window[-1] + 2
    if furthest > bundle.adapter.look_ahead_phones:
        raise BundleError(
            f"durations.window {bundle.durations.window} sees further than look_ahead_phones "
            f"{bundle.adapter.look_ahead_phones} allows: its last place may be {bundle.adapter.look_ahead_phones - 2}"
        )


def _codes(fields: _Fields) -> Codes:
    codes = Codes(
        pattern=fields.take("pattern", str),
        levels=fields.integers("levels"),
        count=fields.positive("count"),
        begin=fields.positive("begin"),
    )
    fields.finish()
    if codes.pattern != "flat":
        raise BundleError(f"codes.pattern {codes.pattern!r} is not supported, 'flat' is")
    if math.prod(codes.levels) != codes.count:
        raise BundleError(f"codes.levels {codes.levels} make {math.prod(codes.levels)} codes, not {codes.count}")
    return codes


def _adapter(fields: _Fields) -> PointerAdapter:
    kind = fields.take("kind", str)
    if kind != "pointer":
        raise BundleError(f"adapter.kind {kind!r} is not supported, 'pointer' is")
    adapter = PointerAdapter(
        window=fields.integers("window"),
        look_ahead_phones=fields.positive("look_ahead_phones"),
        since=_range(fields, "since"),
        left=_range(fields, "left"),
        following=_range(fields, "following"),
        num_phone_ids=fields.positive("num_phone_ids"),
        max_steps=fields.positive("max_steps"),
        offsets=fields.take("offsets", dict),
    )
    fields.finish()
    if adapter.window[-1] > adapter.look_ahead_phones:
        raise BundleError(f"adapter.window {adapter.window} sees further than look_ahead_phones")
    if set(adapter.offsets) != _FEATURES or not all(type(row) is int and row >= 0 for row in adapter.offsets.values()):
        raise BundleError(f"adapter.offsets must give a row for each of {sorted(_FEATURES)}, got {adapter.offsets!r}")
    return adapter


def _range(fields: _Fields, key: str) -> tuple[int, int]:
    values = fields.integers(key)
    if len(values) != 2 or values[0] >= values[1]:
        raise BundleError(f"{fields.where}.{key} must be a least and a greatest value, got {list(values)}")
    return values[0], values[1]


def _durations(fields: _Fields) -> Durations:
    durations = Durations(
        file=fields.take("file", str),
        window=fields.integers("window"),
        rows=fields.positive("rows"),
        opening_hops=fields.positive("opening_hops"),
        closing_hops=fields.count("closing_hops"),
        num_phone_ids=fields.positive("num_phone_ids"),
        num_pause_types=fields.positive("num_pause_types"),
        phones=fields.take("phones", int),
        pauses=fields.take("pauses", int),
        speaker=fields.take("speaker", int),
    )
    fields.finish()
    return durations


def _lm(fields: _Fields) -> Lm:
    lm = Lm(
        file=fields.take("file", str),
        layers=fields.positive("layers"),
        kv_heads=fields.positive("kv_heads"),
        head_dim=fields.positive("head_dim"),
        width=fields.positive("width"),
    )
    fields.finish()
    return lm


def _vocoder(fields: _Fields) -> Vocoder:
    file = fields.take("file", str)
    states = []
    for index, value in enumerate(fields.take("states", list)):
        state = _Fields(value, f"vocoder.states[{index}]")
        slot = StateSlot(name=state.take("name", str), shape=state.integers("shape"), dtype=state.take("dtype", str))
        state.finish()
        if slot.dtype not in _DTYPES:
            raise BundleError(f"vocoder state {slot.name!r} has dtype {slot.dtype!r}, supported: {', '.join(_DTYPES)}")
        states.append(slot)
    fields.finish()
    return Vocoder(file=file, states=tuple(states))


def _drafts(fields: _Fields) -> Drafts:
    greedy, sampled, verify = (fields.take(name, str) for name in ("greedy", "sampled", "verify"))
    drafts = Drafts(greedy=greedy, sampled=sampled, verify=verify, length=fields.positive("length"))
    fields.finish()
    return drafts


def _voices(values: list[Any]) -> tuple[Voice, ...]:
    voices = []
    for index, value in enumerate(values):
        fields = _Fields(value, f"voices[{index}]")
        voices.append(
            Voice(
                id=fields.take("id", str),
                name=fields.take("name", str),
                index=fields.take("index", int),
                description=fields.take("description", str),
            )
        )
        fields.finish()
    if not voices:
        raise BundleError("voices is empty, a bundle needs at least one")
    if sorted(voice.index for voice in voices) != list(range(len(voices))):
        raise BundleError(f"voices are numbered {[voice.index for voice in voices]}, right is 0 to {len(voices) - 1}")
    if len({voice.id for voice in voices}) != len(voices):
        raise BundleError(f"two voices have one id: {[voice.id for voice in voices]}")
    return tuple(voices)
