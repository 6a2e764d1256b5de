"""The text side of one utterance: text -> plain text -> chunks -> token ids that are prefilled, and when speech ends.

Words go into the cache as they come; the first step of a chunk waits for the chunk's end, since the model reads all of
it before it speaks. A step reads nothing but the frame before it.
"""

from __future__ import annotations

from collections import deque

from engines.errors import UnspeakableText
from engines.families.base import Frames, Prefix, Row, Sampling, ScriptState, Verdict, WordTimes
from engines.families.common.cut_short import CutShort
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.chunks import Chunk, Chunker, frames_after_end, most_frames
from engines.families.pocket.voices import VoicePrefix
from engines.runtime.base import FloatArray
from engines.text.plain import PlainText

_CHUNKS_AHEAD = 3  # read and not yet spoken; a book is not read faster than it is spoken
_FLUSH, _END = object(), object()
_NO_ROW: Row = ()


class PocketScript:
    controls = None

    def __init__(
        self, bundle: Bundle, text: PlainText, chunker: Chunker, prefix: VoicePrefix, temperature: float
    ) -> None:
        self._bundle, self._text, self._chunker = bundle, text, chunker
        self.prefix: Prefix | None = prefix
        self.sampling = Sampling(temperature=temperature)
        self.guards = set[str]()
        self._cut_short = CutShort()
        self._unread = deque[object]()  # texts, _FLUSH, _END; the first text may be half read
        self._chunks = deque[Chunk]()
        self._ended = False
        self._begin_chunk()

    def _begin_chunk(self) -> None:
        self._prefilled = self._frames = 0
        self._end_frame: int | None = None  # whose logit spoken that speech ends

    @property
    def warnings(self) -> tuple[str, ...]:
        words = ", ".join([*self._chunker.left_out][:5])
        left_out = [f"left out, since the model knows none of its characters: {words}"] if words else []
        return (*left_out, *self._cut_short.warnings, *self._text.warnings)

    # -- text ------------------------------------------------------------------------------------------------------

    def append(self, text: str) -> None:
        if text:
            self._unread.append(text)

    def flush(self) -> None:
        self._unread.append(_FLUSH)

    def end(self) -> None:
        self._unread.append(_END)

    @property
    def readable(self) -> bool:
        return bool(self._unread) and len(self._chunks) < _CHUNKS_AHEAD

    @property
    def has_text(self) -> bool:
        return bool(self._unread or self._chunks or self._text.holds_text or self._chunker.pending)

    def read(self, max_chars: int) -> int:
        read = 0
        while self.readable and read < max_chars:
            step = self._unread[0]
            if isinstance(step, str):
                count = min(len(step), max_chars - read)
                self._chunks += self._chunker.feed(self._text.feed(step[:count]))
                read += count
                if count < len(step):
                    self._unread[0] = step[count:]
                    continue
            else:
                self._chunks += [*self._chunker.feed(self._text.close()), *self._chunker.close()]
                read += 1
                if step is _END:
                    self._end()
            self._unread.popleft()
        return max(1, read)

    def _end(self) -> None:
        self._ended = True
        if not self._chunker.spoke:
            why = "; ".join(self.warnings) or "it has no letter and no digit"
            raise UnspeakableText(f"nothing in the text can be spoken: {why}")

    # -- rows ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ScriptState:
        if not self._chunks:
            return ScriptState.DONE if self._ended else ScriptState.STARVED
        chunk = self._chunks[0]
        if self._prefilled < len(chunk.ids):
            return ScriptState.PREFILL
        return ScriptState.READY if chunk.closed else ScriptState.STARVED

    def prompt(self, most: int) -> list[Row]:
        first, ids = self._prefilled, self._chunks[0].ids
        self._prefilled = min(first + most, len(ids))
        return [(one,) for one in ids[first : self._prefilled]]

    def row(self) -> Row:
        return _NO_ROW

    def peek(self, most: int) -> list[Row]:
        return [_NO_ROW] if self.state is ScriptState.READY and most else []

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> Verdict:
        chunk, end, at = self._chunks[0], self._bundle.end, self._frames
        self._frames += 1
        if self._end_frame is None and at >= end.ignored_frames and end_score > end.threshold:
            self._end_frame = at
        if self._end_frame is not None:
            ends = self._frames >= self._end_frame + frames_after_end(chunk, end.frames_after)
        else:
            ends = self._frames >= most_frames(len(chunk.ids), self._bundle.frame_s)
            if ends:
                self.guards.add("no_end_of_speech")
                self._cut_short.add(self._frames * self._bundle.frame_s)
        if not ends:
            return Verdict.GOES_ON
        self._chunks.popleft()
        self._begin_chunk()
        return Verdict.SEGMENT_ENDS

    def words_until(self, frames: int) -> WordTimes:
        return ()  # none are measured on this model

    def silenced(self, pcm: bytes) -> bytes:
        return pcm  # the model sees no pauses
