"""What a model family is to the engine: five of the six Protocols; the sixth, the device, is in `engines.runtime.base`.

The engine schedules sequences, slots and frames. What text means to a model, how a frame is sampled and how frames
become samples is the family's. A family is written once over the Backend; it imports nothing of another family.

Letters in shapes: B rows of a call, S steps, F frames, W frame width, R row width, P prompt row width, T prompt
positions, K draft length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.messages import Submit, WordTime
from engines.runtime.base import Backend

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Frames = NDArray[Any]  # [..., W] of ModelSpec.frame_dtype; the core hands them on and never reads them
Row = Sequence[int] | IntArray  # [R], or [P] of a prompt
Rows = IntArray  # [..., R]; a row of zeros is a valid input, so that warm-up and measurements need no text
WordTimes = tuple[WordTime, ...]
Controls = Any  # what a Script gives its Vocoder: timbre, pitch, rate; opaque to the core
Prefix = Any  # a voice or context that a Talker starts a slot from; opaque to the core


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSpec:
    id: str
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSpec:
    """An option that `Submit.options` may carry. A request that names another one is rejected by name."""

    name: str
    kind: Literal["number", "integer", "flag", "text", "object"]
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """All that the core and the server know of a model. It crosses the wall in `Ready`.

    One decode step makes one frame. A family whose codec frame spans several steps (Orpheus: 7) calls each step a
    frame and lists multiples of 7 in `chunk_frames`.
    """

    family: str
    name: str
    version: str
    digest: str  # of all that decides the samples besides the request and the arithmetic
    frame_s: float  # seconds of audio a frame
    frame_width: int  # W
    frame_dtype: str  # a NumPy name
    row_width: int  # R; 0 where a step reads nothing but the last frame
    prompt_width: int  # P; 0 where nothing is prefilled
    positions: int  # that a slot holds; a longer segment ends there
    bytes_per_slot: int
    chunk_frames: tuple[int, ...]  # sizes of vocoder jobs, rising; every job but a last one is a multiple of the first
    first_frames: tuple[int, int]  # of a stream's first chunk: on a machine with time left, and on a loaded one
    opening_frames: int = 0  # known to be silent at the beginning of an utterance
    lookahead_frames: int = 0  # that the vocoder must have seen behind a frame before it sounds
    withheld_frames: int = 0  # newest ones kept from the vocoder until the end is known: its last job holds them
    vocoder_restarts: bool = False  # each segment is an utterance of its own to the vocoder
    rates_hz: tuple[int, ...]
    native_rate_hz: int
    voices: tuple[VoiceSpec, ...]
    options: tuple[OptionSpec, ...]
    speeds: tuple[float, float] = (1.0, 1.0)  # that it is asked for; what lies beyond is the server's stretching
    times_words: bool = False  # whether it knows when its words are spoken
    folds_space: bool = True  # runs of white space say no more than a space, a line's end or a paragraph's

    def option(self, name: str) -> OptionSpec | None:
        return next((one for one in self.options if one.name == name), None)


class ScriptState(Enum):
    PREPARING = auto()  # `read` unpacks what the request brought, before any text
    PREFILL = auto()  # `prompt` has rows that the cache must hold before the next step
    READY = auto()  # `row` has the next step's input
    STARVED = auto()  # only more text, a flush or the end of the text brings a row
    DONE = auto()  # no step comes any more; `end` may bring this about with no frame left


class Verdict(Enum):
    """What a committed frame means. A planned end, an end token and an end logit look alike."""

    GOES_ON = auto()
    SEGMENT_ENDS = auto()  # after this frame: the next step begins the slot anew, unless the Script is DONE
    END_MARKER = auto()  # as SEGMENT_ENDS, and the frame itself is no audio


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a Talker samples a row. The noise is keyed by (seed, position), so neighbours and drafts change nothing."""

    temperature: float = 0.0  # 0: the most likely
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    repetition_penalty: float = 1.0  # on what the segment has spoken
    suppressed: tuple[int, ...] = ()  # never sampled
    min_frames: int = 0  # of the segment before its end may be sampled


class Script(Protocol):
    """The text side of one utterance. Pure host code: no slot, no clock. How text was cut changes nothing."""

    sampling: Sampling
    controls: Controls
    prefix: Prefix | None  # that each segment's slot begins with
    guards: set[str]  # names of limits that cut something short

    @property
    def warnings(self) -> tuple[str, ...]:
        """For the caller: what of the text was left out."""
        ...

    def append(self, text: str) -> None: ...

    def flush(self) -> None:
        """Speak what is there; more may follow."""
        ...

    def end(self) -> None: ...

    def read(self, max_chars: int) -> int:
        """Reads a slice of the text that came. Returns the characters that it counts as, at least 1. Raises TextError
        for a text that cannot be spoken."""
        ...

    @property
    def readable(self) -> bool:
        """Whether `read` has something to do now. False as well where enough is read for a while."""
        ...

    @property
    def has_text(self) -> bool:
        """Whether text came that is not spoken yet, be it read or not."""
        ...

    @property
    def state(self) -> ScriptState: ...

    def prompt(self, most: int) -> Sequence[Row]:
        """-> T rows of [P], 1 <= T <= most: the next positions to prefill. Only in PREFILL; each is given once. A
        prompt's last position is not among them: it is the first step."""
        ...

    def row(self) -> Row:
        """-> [R], the next step's. Only in READY; the same until `commit`."""
        ...

    def peek(self, most: int) -> Sequence[Row]:
        """-> N rows of [R], N <= most: the next steps of this segment as far as they are known, the first of them
        `row`. What `row` will give later never differs."""
        ...

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> Verdict:
        """frame [W], probe [P'] of the step whose input was `row`."""
        ...

    def words_until(self, frames: int) -> WordTimes:
        """Words that have ended within the utterance's first `frames` frames and were not returned before, in seconds
        from its first frame."""
        ...

    def silenced(self, pcm: bytes) -> bytes:
        """The utterance's next samples, s16le, as many out: pauses whose length the text gives are silent inside. A
        function of the samples, however they are cut."""
        ...


Result = TypeVar("Result", covariant=True)


class Pending(Protocol[Result]):
    """A call under way. The thread that made it waits once; the wait does not hold the interpreter lock."""

    def wait(self) -> Result: ...


class Steps(NamedTuple):
    """What a step made. Arrays may be views that the Talker's next call writes over."""

    frames: Frames  # [B, S, W]
    end_scores: FloatArray  # [B, S]; 0 where the family's end is planned
    is_finite: BoolArray  # [B, S]
    probes: FloatArray | None = None  # [B, S, P'], what a family reads word times from


class Talker(Protocol):
    """The speech model with its sampling, its depth loop if it has one, and its state by slot, wherever that lives.

    All calls come from one thread. A slot's number is stable for its owner; its row may move inside.
    """

    kernels: str  # whose run, and why not ours: see `Graph.kernels`
    device: str
    draft_frames: int  # K that `step` can verify at once; 0: none

    def warm_up(self) -> None: ...

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        """Begins a segment in the slot. Returns the positions it holds then."""
        ...

    def release(self, slot: int) -> None: ...

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        """Cuts `slots`, one at least, the most urgent first, into lists that fit one call each, in that order. A call
        that computes idle rows anyway may take some of `others`, slots that can use a step too. `call_rows`: what
        another call costs, in idle rows."""
        ...

    def prefill(self, slots: IntArray, rows: Rows, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        """slots [B], rows [sum T, P], offsets [B + 1] of each slot's rows, lengths [B] positions held -> is_finite [B].

        Each slot then holds T positions more. In any chunks the cache has the same bits.
        """
        ...

    def step(
        self,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames | None,
    ) -> Pending[Steps]:
        """slots [B], rows [B, S, R], counts [B] (steps of each row, 1 to S), lengths [B] (positions held), sampling B,
        keys [B, 2] = (seed, frames made), drafted [B, S - 1, W] -> frames [B, S, W].

        S = 1 decodes. S > 1 verifies: step s > 0 sees drafted frame s - 1 as its last frame, and has the bits that it
        has alone. A decoded row holds one position more; a verified one what `keep` says.
        """
        ...

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        """slots [B], lengths [B], frames [B, W]: what stands after a verify."""
        ...


class Drafter(Protocol):
    """Guesses the next frames of sequences; `engines.speculation` verifies each."""

    frames: int  # K at most

    def propose(
        self, rows: Rows, counts: IntArray, sampling: Sequence[Sampling], keys: IntArray, made: Sequence[Frames]
    ) -> Frames:
        """rows [B, K, R] (the next steps', counts [B] of them known), keys [B, 2], made B x [N, W] (all frames of the
        utterance so far, N >= 1) -> [B, K, W]. Row b's guesses beyond counts[b] are ignored."""
        ...

    def stands(self, drafted: Frames, sampled: Frames) -> bool:
        """Whether [W] may be committed in place of [W]. Exactly: only where they are equal."""
        ...


class Sound(NamedTuple):
    samples: list[FloatArray]  # B x [n]: rows differ by rate, look-back and tail
    is_finite: BoolArray  # [B]


class Vocoder(Protocol):
    """Frames to samples. State by slot inside. All calls come from one thread, which need not be the Talker's."""

    kernels: str

    def warm_up(self) -> None: ...

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        """slots [B], frames [B, F, W], first_frames [B] (place of the first one in the utterance, or in the segment
        where `vocoder_restarts`), seeds [B], controls B, is_last [B] -> samples.

        First frame 0 begins the slot anew. F is 0 only where all rows are last: what is still open then comes out.
        Samples do not depend on how frames were cut into jobs, nor on the other rows.
        """
        ...


class Family(Protocol):
    """Built once for a bundle, as `family(bundle, host)`: `host` is the CPU Backend of the graphs that Scripts call."""

    def spec(self, backend: Backend) -> ModelSpec:
        """Of the form that this backend would run; loads no graph."""
        ...

    def validate(self, submit: Submit) -> None:
        """Raises a RequestError that names the value and what is right."""
        ...

    def open(self, submit: Submit) -> Script:
        """For a request that is valid."""
        ...

    def talker(self, backend: Backend, slots: int) -> Talker: ...

    def vocoder(self, backend: Backend, slots: int) -> Vocoder: ...

    def drafter(self, backend: Backend, *, tolerance: int) -> Drafter | None:
        """Raises ConfigError for a tolerance that the family cannot keep."""
        ...
