"""The shipped voice's manifest: codes, inputs, graphs and voices of a `phone_pointer` bundle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal

from engines.errors import ConfigError
from engines.families import bundle
from engines.families.base import Frames
from engines.families.bundle import Count, Positive, Section
from engines.families.common.voice_mix import Timbre
from engines.families.shipped import bundle_folder
from engines.runtime.base import IntArray

_FEATURES = {"code", "phones", "since", "left", "following", "to_pause", "pause_type", "speaker"}
Range = tuple[int, int]  # least and greatest


class Voice(bundle.Voice, frozen=True, kw_only=True):
    index: int


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

    @property
    def place_features(self) -> int:
        """The first of them behind the code: the phones around the pointer, and where the step is in its phone."""
        return len(self.window) + 2

    @property
    def places_in_a_row(self) -> bool:
        """Whether the rows of those are one block, in that order."""
        since = self.offsets["phones"] + len(self.window) * self.num_phone_ids
        return self.offsets["since"] == since and self.offsets["left"] == since + self.since[1] - self.since[0] + 1


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
    sees_text: bool = False  # beside each code, the place features of its step, counted from the first phone's row

    def feeds(self, frames: Frames) -> dict[str, IntArray]:
        """frames [B, N, W] by name of the graph's inputs."""
        return {"codes": frames[..., 0]} | ({"seen": frames[..., 1:]} if self.sees_text else {})


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


class Bundle(bundle.Bundle, frozen=True, kw_only=True):
    FAMILY: ClassVar[str] = "phone_pointer"

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_samples <= self.hop_length:
            raise ValueError(f"window_samples {self.window_samples} must exceed hop_length {self.hop_length}")
        # The next phones' ends, up to that of a step later, must lie inside the look-ahead.
        allowed = self.adapter.look_ahead_phones - 2
        if self.durations.window[-1] > allowed:
            raise ValueError(
                f"durations.window {self.durations.window} sees further than look_ahead_phones "
                f"{self.adapter.look_ahead_phones} allows: its last place may be {allowed}"
            )
        if self.durations.opening_hops >= (self.adapter.max_steps - 1) * self.frames_per_code:
            raise ValueError(
                f"adapter.max_steps {self.adapter.max_steps} must exceed the {self.durations.opening_hops} hops of "
                f"durations.opening_hops, at {self.frames_per_code} a step, by more than a step"
            )
        if self.vocoder.sees_text and not self.adapter.places_in_a_row:
            raise ValueError(
                f"vocoder.sees_text needs phones, since and left in a row of the table, got {self.adapter.offsets!r}"
            )
        numbers = [voice.index for voice in self.voices]
        if sorted(numbers) != list(range(len(numbers))):
            raise ValueError(f"voices are numbered {numbers}, right is 0 to {len(numbers) - 1}")

    @property
    def used_files(self) -> tuple[str, ...]:
        drafts = self.drafts
        guesses = (drafts.greedy, drafts.sampled, drafts.verify) if drafts else ()
        return (self.durations.file, self.lm.file, self.vocoder.file, *guesses)

    def voice(self, voice_id: str) -> Voice:
        found = super().voice(voice_id)
        assert isinstance(found, Voice)
        return found

    def check_draft_tolerance(self, tolerance: int) -> None:
        if self.drafts is None:
            super().check_draft_tolerance(tolerance)
        elif tolerance and tolerance >= max(self.codes.levels) - 1:
            levels = ", ".join(map(str, self.codes.levels))
            raise ConfigError(
                f"draft_tolerance {tolerance} lets any guess stand: the codes' digits have {levels} levels"
            )

    def weights(self, voice: str, timbre: Timbre) -> tuple[float, ...]:
        """What each voice adds to the sound, by index. Raises UnknownVoice."""
        shares = [0.0] * len(self.voices)
        for name, share in timbre or ((voice, 1.0),):
            shares[self.voice(name).index] += share
        assert abs(sum(shares) - 1) < 1e-6, f"shares {shares} do not sum to 1"
        return tuple(shares)

    @property
    def frame_width(self) -> int:
        """The code, and behind it what the vocoder sees of the text."""
        return 1 + (self.adapter.place_features if self.vocoder.sees_text else 0)

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


def load_bundle(folder: Path | None = None) -> Bundle:
    """A name is a shipped voice, nothing the default one.

    Raises BundleError, which names the field, its value and what would be right.
    """
    return Bundle.load(bundle_folder(folder))
