"""OpenAI's SDK on the Realtime WebSocket: text in, audio out, a cancel and a truncation."""

from __future__ import annotations

import base64
from typing import Any

from openai import OpenAI

from tests.clients.conftest import TEXT, Server, native


def ask(connection: Any, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
    connection.response.create()


def heard(connection: Any) -> tuple[bytes, Any]:
    pcm = b""
    for event in connection:
        assert event.type != "error", event
        if event.type == "response.output_audio.delta":
            pcm += base64.b64decode(event.delta)
        if event.type == "response.done":
            break
    return pcm, event.response


def test_a_conversation(server: Server) -> None:
    client = OpenAI(base_url=f"{server.url}/v1", api_key="any")
    with client.realtime.connect(model="gpt-realtime") as connection:
        assert connection.recv().type == "session.created"
        output = {"voice": "slt", "format": {"type": "audio/pcm", "rate": 24_000}}
        connection.session.update(session={"type": "realtime", "audio": {"output": output}})
        assert connection.recv().type == "session.updated"
        ask(connection, TEXT)
        pcm, response = heard(connection)
        assert response.status == "completed"
        assert pcm == native(server, voice="slt")
        played_ms = len(pcm) // 96
        item = response.output[0]
        connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=played_ms)
        while (event := connection.recv()).type != "conversation.item.truncated":
            pass
        assert event.audio_end_ms == played_ms
        assert 0 < len(event.transcript.split()) < len(TEXT.split())
        ask(connection, TEXT * 20)
        while connection.recv().type != "response.output_audio.delta":
            pass
        connection.response.cancel()
        assert heard(connection)[1].status == "cancelled"
