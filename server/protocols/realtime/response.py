"""One response of OpenAI's Realtime API: its one item, whose one part is speech, and the events that tell of them."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator

from engines.messages import WordTime
from server.http.utterance_socket import SocketUtterance
from server.speech.encoded import EncodedSpeech

Event = dict[str, object]


class ResponseUtterance(SocketUtterance):
    def __init__(self, speech: EncodedSpeech, metadata: dict[str, str] | None) -> None:
        super().__init__(speech)
        self.id, self.item_id = f"resp_{uuid.uuid4().hex}", f"item_{uuid.uuid4().hex}"
        self._metadata = metadata
        self._told = 0  # characters of the transcript

    # -- events ----------------------------------------------------------------------------------------------------

    def begin(self) -> Iterator[Event]:
        item = self._item("in_progress", None)
        yield {"type": "response.created", "response": self._response("in_progress", [])}
        yield {"type": "response.output_item.added", "response_id": self.id, "output_index": 0, "item": item}
        yield {"type": "conversation.item.added", "item": item}
        yield self._of_part("response.content_part.added", part={"type": "audio", "transcript": ""})

    def audio(self, data: bytes) -> Event:
        return self._of_part("response.output_audio.delta", delta=base64.b64encode(data).decode())

    def words(self, spoken: tuple[WordTime, ...]) -> Event | None:
        """The text up to the last of them, where it is new."""
        return self._transcript(spoken[-1].end_char) if spoken else None

    def finish(self, status: str, details: Event | None = None) -> Iterator[Event]:
        """`status`: completed, cancelled or failed. What was not heard of a text is not in its transcript."""
        whole = status == "completed"
        text = self.speech.text if whole else self.speech.position.text_spoken
        if whole and (rest := self._transcript(len(text))) is not None:
            yield rest
        item = self._item("completed" if whole else "incomplete", text)
        yield self._of_part("response.output_audio.done")
        yield self._of_part("response.output_audio_transcript.done", transcript=text)
        yield self._of_part("response.content_part.done", part={"type": "audio", "transcript": text})
        yield {"type": "response.output_item.done", "response_id": self.id, "output_index": 0, "item": item}
        yield {"type": "conversation.item.done", "item": item}
        yield {"type": "response.done", "response": self._response(status, [item], details)}

    def _transcript(self, end: int) -> Event | None:
        delta, self._told = self.speech.text[self._told : end], max(self._told, end)
        return self._of_part("response.output_audio_transcript.delta", delta=delta) if delta else None

    # -- parts of events -------------------------------------------------------------------------------------------

    def _of_part(self, kind: str, **fields: object) -> Event:
        place = {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}
        return {"type": kind, **place, **fields}

    def _item(self, status: str, text: str | None) -> Event:
        content = [] if text is None else [{"type": "output_audio", "transcript": text}]
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _response(self, status: str, output: list[Event], details: Event | None = None) -> Event:
        told: Event = {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": output,
            "output_modalities": ["audio"],
            "metadata": self._metadata,
        }
        if status != "in_progress":
            characters, steps = len(self.speech.text), round(1000 * self.speech.audio_s) // 40
            told["usage"] = {
                "input_tokens": characters,
                "output_tokens": steps,
                "total_tokens": characters + steps,
            }
        return told
