"""One listener over HTTP: posts its text at its time and stamps the audio of the chunked answer, judges nothing.

Like its sister of the WebSocket a plain asyncio protocol, over the sans-io client half of `h11`. It knows
`POST /v1/audio/speech` of docs/wire.md.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import cast

import h11
from websockets.uri import WebSocketURI

from loadtests.arrivals import Planned
from loadtests.recording import RATE_HZ, End, Recording

PATH = "/v1/audio/speech"
_OK = 200
_NO_ROOM_STATUS = (429, 503)
_MAX_DETAIL = 200


class HttpListener(asyncio.Protocol):
    """The same for its generator as `client_ws.Listener`."""

    def __init__(
        self,
        planned: Planned,
        uri: WebSocketURI,
        clock: Callable[[], float],
        sent_late: Callable[[float], None],
        ended: Callable[[HttpListener], None],
    ) -> None:
        self.planned = planned
        self.recording = Recording(index=planned.index, opened_s=clock())
        self._host = f"{uri.host}:{uri.port}"
        self._http = h11.Connection(h11.CLIENT)
        self._clock, self._sent_late, self._ended = clock, sent_late, ended
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._status = 0
        self._problem = b""

    @property
    def over(self) -> bool:
        return self.recording.ended_s is not None

    def give_up(self, why: str) -> None:
        """Ends the stream from the client's side."""
        self._finish(self._clock(), End.FAILED, why)

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.recording.connected_s = self._clock()
        wait_s = max(0.0, self.planned.at_s - self.recording.connected_s)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._send)

    def data_received(self, data: bytes) -> None:
        now_s = self._clock()
        self._http.receive_data(data)
        try:
            while not self.over:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event, now_s)
        except h11.RemoteProtocolError as error:
            self._finish(now_s, End.FAILED, f"not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(self._clock(), End.FAILED, f"connection lost: {exc}")

    # -- in and out ------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        if self.over or self._transport is None:
            return
        text = self.planned.text
        fields = {"input": text.text, "seed": text.seed, "response_format": "pcm", "sample_rate": RATE_HZ}
        body = json.dumps(fields).encode()
        headers = [("Host", self._host), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        request = h11.Request(method="POST", target=PATH, headers=headers)
        now_s = self._clock()
        self._sent_late(max(0.0, now_s - self.planned.at_s))
        self.recording.text_at_s.append(now_s)
        self.recording.all_text_s = now_s
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        self._transport.write(b"".join(self._http.send(part) or b"" for part in parts))

    def _take(self, event: object, now_s: float) -> None:
        recording = self.recording
        if isinstance(event, h11.Response):
            self._status = event.status_code
        elif isinstance(event, h11.Data) and self._status != _OK:
            self._problem += event.data
        elif isinstance(event, h11.Data):
            recording.chunk_at_s.append(now_s)
            recording.chunk_bytes.append(len(event.data))
            recording.checksum = zlib.crc32(event.data, recording.checksum)
            recording.keep_head(event.data)
        elif isinstance(event, h11.EndOfMessage) and self._status == _OK:
            recording.told_audio_ms = 1000 * recording.audio_bytes / 2 / RATE_HZ  # its end is all that it tells
            self._finish(now_s, End.DONE)
        elif isinstance(event, h11.EndOfMessage):
            end = End.REFUSED if self._status in _NO_ROOM_STATUS else End.FAILED
            self._finish(now_s, end, f"{self._status} {self._problem.decode(errors='replace')[:_MAX_DETAIL]}")
        elif isinstance(event, h11.ConnectionClosed):
            self._finish(now_s, End.FAILED, "connection closed")

    def _finish(self, now_s: float, end: End, detail: str = "") -> None:
        if self.over:
            return
        self.recording.finish(now_s, end, detail)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        self._ended(self)
