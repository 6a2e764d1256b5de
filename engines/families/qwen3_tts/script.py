"""The text side of one utterance: text -> plain text -> ids -> one id a frame. A pause in the text is not an end:
without the next id the sequence waits.

A flush or the end of the text ends a segment: the model reads its end mark, then padding, and says itself when it has
spoken. Long text is cut into segments at sentences, or else at clauses or words; where is a function of the text alone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from engines.errors import UnspeakableText
from engines.families.base import FloatArray, Frames, Prefix, Row, Sampling, ScriptState, Verdict, WordTimes
from engines.families.common.cut_short import CutShort
from engines.families.qwen3_tts.prompt import Rows, VoicePrefix
from engines.families.qwen3_tts.section import Qwen3TtsSection
from engines.families.qwen3_tts.tokens import Cut, Token, TokenStream
from engines.runtime.base import IntArray
from engines.text.plain import PlainText

FRAMES_A_TOKEN = 6  # at most: speech takes 3 to 4; so many positions of a slot are kept for each id
_MOST_FRAMES_A_TOKEN, _MOST_FRAMES_S = 2 * FRAMES_A_TOKEN, 5.0  # of a segment whose speech does not end
TOKENS_AHEAD = 512  # read and not yet given to the model
_FLUSH, _END = object(), object()


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthSampling(Sampling):
    """Code 0 by the fields of every family, the codes below it by these."""

    inner_temperature: float
    inner_top_k: int
    inner_top_p: float


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Reference:
    """What of a recording stands behind the voice's prefix and before the utterance's own: text ids, then rows that
    want one each, the reference's or the utterance's. The last row is the first step's."""

    text: tuple[int, ...]
    rows: Sequence[IntArray]


class Qwen3TtsScript:
    def __init__(
        self,
        section: Qwen3TtsSection,
        text: PlainText,
        tokenizer: Any,
        sampling: DepthSampling,
        prefix: VoicePrefix,
        opening: Sequence[IntArray] = (),
        reference: Reference | None = None,
        rate_hz: int | None = None,
    ) -> None:
        """`opening`: rows behind the prefix, of every segment. `rate_hz`: of the samples; None: the model's own."""
        self.controls = rate_hz or section.vocoder.rate_hz
        self._section, self._text = section, text
        self.sampling: Sampling = sampling
        self.prefix: Prefix | None = prefix
        self.guards = set[str]()
        self._cut_short = CutShort()
        self._begun_at = len(prefix.rows)
        self._rows, self._opening, self._reference = Rows(section), opening, reference
        self._unread = deque[object]()
        self._ended = self._spoke = False
        self._tokens = deque[Token | None]()  # not given to the model yet; None ends a segment's text
        taken = len(prefix.rows) + len(opening) + (len(reference.rows) if reference else 0)
        self._most_ids = max(8, (section.talker.positions - taken) // FRAMES_A_TOKEN)
        self._stream = TokenStream(tokenizer, self._most_ids)
        self._restart()

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self._cut_short.warnings, *self._text.warnings)

    def _restart(self) -> None:
        """A segment of which nothing is given yet."""
        self._positions, self._frames = self._begun_at, 0
        self._prompt = deque[IntArray](self._opening)
        self._before = deque[int](self._reference.text if self._reference else ())  # ids of the reference
        self._codes = deque[IntArray](self._reference_rows())  # rows that want a text id, the last one in a step
        self._ids = 0  # of the segment's own text that were given
        self._text_over = self._end_given = False

    def _reference_rows(self) -> list[IntArray]:
        rows = self._reference.rows if self._reference else self._rows.reference(())
        return [row.copy() for row in rows]

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
        return bool(self._unread) and len(self._tokens) < TOKENS_AHEAD

    @property
    def has_text(self) -> bool:
        return bool(self._unread or self._tokens or self._ids or self._text.holds_text or self._stream.holds_text)

    def read(self, max_chars: int) -> int:
        step = self._unread[0]
        if isinstance(step, str):
            self._take(self._stream.feed(self._text.feed(step[:max_chars])))
            if len(step) > max_chars:
                self._unread[0] = step[max_chars:]
            else:
                self._unread.popleft()
            return min(len(step), max_chars)
        self._unread.popleft()
        self._take([*self._stream.feed(self._text.close()), *self._stream.close()])
        self._tokens.append(None)
        if step is _END:
            self._ended = True
            if not self._spoke:
                why = "; ".join(self.warnings) or "it has no word"
                raise UnspeakableText(f"nothing in the text can be spoken: {why}")
        self._skip_ends()
        return 1

    def _take(self, tokens: list[Token]) -> None:
        self._tokens.extend(tokens)
        self._spoke = self._spoke or bool(tokens)

    def _skip_ends(self) -> None:
        """A segment begins with text."""
        while not self._has_begun and self._tokens and self._tokens[0] is None:
            self._tokens.popleft()

    @property
    def _has_begun(self) -> bool:
        return self._positions > self._begun_at

    # -- rows ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ScriptState:
        if not self._known(1):
            done = self._ended and not self._unread and not self._tokens and not self._has_begun
            return ScriptState.DONE if done else ScriptState.STARVED
        return ScriptState.PREFILL if self._prompt or len(self._codes) > 1 else ScriptState.READY

    def _known(self, most: int) -> list[int]:
        """Text ids of the next positions, as far as they are known: what later text brings changes none."""
        text, found = self._section.text, list(self._before)[:most]
        if not self._has_begun and not self._tokens:
            return []  # a reference alone is no text
        ids, over, end_given = self._ids, self._text_over, self._end_given
        for token in islice(self._tokens, 0 if over else most - len(found)):
            over = token is None or self._is_cut(token, ids)
            if token is None or over:
                break
            found.append(token.id)
            ids += 1
        while over and len(found) < most:
            found.append(text.pad if end_given else text.end)
            end_given = True
        return found

    def _is_cut(self, token: Token, ids: int) -> bool:
        """Whether the segment's text ends before this token."""
        most = self._most_ids
        if not ids or ids + token.word > most or ids >= most:  # a word alone may be longer than a segment
            return ids > 0
        return (token.cut is Cut.SENTENCE and 2 * ids >= most) or (token.cut is Cut.CLAUSE and 4 * ids >= 3 * most)

    def _next_text(self) -> int:
        """Gives the next id: the reference's, the text's, the end mark once, then padding."""
        found = self._known(1)[0]
        if self._before:
            self._before.popleft()
        elif self._text_over:
            self._end_given = True
        elif (token := self._tokens[0]) is None or self._is_cut(token, self._ids):
            self._text_over = self._end_given = True
            if token is None:
                self._tokens.popleft()
        else:
            self._tokens.popleft()
            self._ids += 1
        return found

    def prompt(self, most: int) -> list[Row]:
        found: list[IntArray] = []
        while self._prompt and len(found) < most:
            found.append(self._prompt.popleft())
        while not self._prompt and len(self._codes) > 1 and len(found) < most and self._known(1):
            row = self._codes.popleft()
            row[0] = self._next_text()
            found.append(row)
        self._positions += len(found)
        return [row.tolist() for row in found]

    def row(self) -> Row:
        return self.peek(1)[0]

    def peek(self, most: int) -> list[Row]:
        rows = [self._rows.of(one, self._section.talker.follow) for one in self._known(most)]
        if self._codes:
            rows[0][1:] = self._codes[0][1:]
        return [row.tolist() for row in rows]

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> Verdict:
        self._next_text()
        self._codes.clear()
        self._positions += 1
        self._frames += 1
        if end_score > 0:
            if not self._text_over:
                self.guards.add("ended_before_text")
            self._close()
            return Verdict.END_MARKER
        if self._positions >= self._section.talker.positions:
            self.guards.add("segment_too_long")
        elif self._text_over and self._frames >= self._most_frames:
            self.guards.add("no_end_of_speech")
        else:
            return Verdict.GOES_ON
        self._cut_short.add(self._frames * self._section.frame_s)
        self._close()
        return Verdict.SEGMENT_ENDS

    @property
    def _most_frames(self) -> int:
        """That the segment's text may take. While text comes, each id brings one frame."""
        return _MOST_FRAMES_A_TOKEN * self._ids + math.ceil(_MOST_FRAMES_S / self._section.frame_s)

    def _close(self) -> None:
        """The next step begins a segment with the text that is left, if there is some or some comes."""
        self._restart()
        self._skip_ends()

    def words_until(self, frames: int) -> WordTimes:
        return ()  # nothing in the model says when a word is spoken

    def silenced(self, pcm: bytes) -> bytes:
        return pcm  # the model sees no pauses


def depth_sampling(section: Qwen3TtsSection, given: dict[str, float]) -> DepthSampling:
    """The checkpoint's, where the request says nothing else. A temperature is that of all codes."""
    own, most = section.sampling, section.talker.most_likely
    top_k = int(given.get("top_k", own.top_k)) or most
    return DepthSampling(
        temperature=given.get("temperature", own.temperature),
        top_k=min(top_k, most),
        top_p=given.get("top_p", own.top_p),
        repetition_penalty=given.get("repetition_penalty", own.repetition_penalty),
        min_frames=own.min_frames,
        inner_temperature=given.get("temperature", own.inner_temperature),
        inner_top_k=min(own.inner_top_k or most, most),
        inner_top_p=own.inner_top_p,
    )


def no_rows(section: Qwen3TtsSection) -> IntArray:
    return np.zeros((0, 1 + section.talker.codebooks), np.int64)
