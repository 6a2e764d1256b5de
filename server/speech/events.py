"""What comes out of one utterance, for every protocol. `Finished`, `Cancelled` or `Failed` is the last."""

from __future__ import annotations

from dataclasses import dataclass

from engines.messages import Cancelled, Failed, Finished, Started, WaitingForText, WordTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Bytes to send, perhaps none yet, and the words that end within them or directly behind them.

    `data` is s16le PCM at the requested rate and speed from an `Utterance`, encoded from an `EncodedSpeech`.
    """

    data: bytes
    words: tuple[WordTime, ...]


SpeechEvent = Audio | Started | WaitingForText | Finished | Cancelled | Failed
