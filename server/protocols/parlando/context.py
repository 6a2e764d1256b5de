"""One utterance of a `parlando.v1` socket under its name, and the messages that tell of it."""

from __future__ import annotations

from msgspec.structs import asdict

from engines.messages import Timings, WordTime
from server.http.websocket import Outgoing
from server.speech.kept import Resumable
from server.speech.utterance import Utterance


class Context:
    """One utterance under its name."""

    def __init__(self, name: str | None, utterance: Utterance, words: bool, resumable: Resumable | None) -> None:
        """`resumable`: it is kept if its connection breaks."""
        self.name, self.utterance, self.words, self.resumable = name, utterance, words, resumable
        self.next = utterance.next if resumable is None else resumable.next
        self.outgoing = Outgoing()
        self.text_ended = False
        self.is_over = False  # nothing of it is left to send
        self.is_elsewhere = False  # another connection speaks it

    def cancel(self, played_s: float | None) -> None:
        self.is_over = True
        self.utterance.cancel(played_s)
        self.outgoing.withdraw()

    def end(self) -> None:
        self.text_ended = True
        if self.resumable is not None:
            self.resumable.text_ended = True
        self.utterance.end()

    def close(self) -> None:
        (self.utterance if self.resumable is None else self.resumable).close()

    def says(self, kind: str, **fields: object) -> dict[str, object]:
        """A message of this context; the unnamed one's carry no name."""
        named = {"context": self.name} if self.name is not None else {}
        return {"type": kind, **named, **fields}


def done(context: Context, timings: Timings) -> dict[str, object]:
    utterance = context.utterance
    return context.says(
        "done",
        request_id=utterance.id,
        id=utterance.utterance_id,
        seed=utterance.seed,
        audio_ms=ms(utterance.audio_s),
        ttfa_ms=ms(utterance.ttfa_s or 0.0),
        audible_ttfa_ms=None if utterance.audible_ttfa_s is None else ms(utterance.audible_ttfa_s),
        timings=asdict(timings),
    )


def cancelled(context: Context) -> dict[str, object]:
    position = context.utterance.position
    return context.says(
        "cancelled",
        request_id=context.utterance.id,
        audio_ms=ms(position.played_s),
        sent_ms=ms(position.sent_s),
        text_spoken=position.text_spoken,
        text_remaining=position.text_remaining,
        text_accuracy=position.text_accuracy,
    )


def word_of(word: WordTime, text: str) -> dict[str, object]:
    return {
        "text": text[word.start_char : word.end_char],
        "start_char": word.start_char,
        "end_char": word.end_char,
        "start_s": round(word.start_s, 6),
        "end_s": round(word.end_s, 6),
    }


def ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
