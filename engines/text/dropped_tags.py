"""Tags for a model that reads raw text and follows none: all of them are dropped, and those of SSML are told."""

from __future__ import annotations

from engines.text.given_sounds import Given
from engines.text.markup import TextSettings
from engines.text.pronunciation import Entry
from engines.text.tags import FOLLOWED, UNSUPPORTED, Tags

_SILENT = frozenset(["speak", "p", "s"])  # they change no sound
_TOLD = (FOLLOWED | UNSUPPORTED) - _SILENT


class DroppedTags(Tags):
    """Owned by one stream."""

    _blank = " "

    def __init__(self, settings: TextSettings) -> None:
        super().__init__(skips_reasoning=settings.skip_reasoning, follows=settings.follow_tags)

    def _none(self, begun: str, text: str, *, glued: bool) -> str:
        return begun + text if glued else f"{begun} {text}"

    def _follow(self, name: str, body: str, *, closing: bool) -> str:
        if self._follows and not closing and name in _TOLD and (name != "sub" or "alias" in body):
            self._warn(f"<{name}> has no effect on this model")
        return " " if name == "break" else ""  # words on both sides of a break stay two

    def _pause(self, written: str | None) -> str:
        if self._follows and not self.skipping:
            self._warn("[pause] has no effect on this model")
        return " "

    def _sounds(self, ipa: str) -> Entry | None:
        self._warn(f"<<{ipa}>> was left out: this model takes no phones")
        return None

    def _given_entry(self, given: Given) -> Entry | None:
        if self._follows:
            self._warn(f"{given.word!r} is read as it is written: this model takes no phones")
        return None
