"""The page in a headless Chromium against a running server: what a person sees, and what the loudspeaker gets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.sync.client import connect

from tests.edge.conftest import RunningServer
from tests.web.chromium import Chromium, Page, browser_path
from tests.web.conftest import opened

pytestmark = pytest.mark.skipif(browser_path() is None, reason="needs Chromium, as Debian's package chromium")

TEXT = "Words go in one by one, and what was spoken is known."
SHORT = "That was it."
LONG = "The café was open, 😀 and so were we. " + "It went on and on, one sentence after another. " * 6
SPEAKING = "document.body.dataset.state === 'speaking'"
OVER = "document.body.dataset.state !== 'speaking' && document.body.dataset.state"
_HEARD = """(() => {
  const whole = new Float32Array(heard.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of heard) { whole.set(part, at); at += part.length; }
  const bytes = new Uint8Array(whole.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
})()"""


def ask(page: Page, text: str) -> None:
    """A refusal may be there before the next line of the test."""
    page.fill("#text", text)
    page.click("#speak")


def speak(page: Page, text: str) -> None:
    ask(page, text)
    assert page.evaluate(SPEAKING)


def heard_samples(page: Page) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(page.evaluate(_HEARD)), np.float32)


def received_samples(page: Page) -> NDArray[np.float32]:
    pcm = b"".join(frame for frame in page.frames if isinstance(frame, bytes))
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def events(page: Page, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(frame) for frame in page.frames if isinstance(frame, str)]
    return [event for event in told if event["type"] == kind]


def messages_sent(page: Page, kind: str) -> list[dict[str, Any]]:
    return [message for message in map(json.loads, page.sent) if message["type"] == kind]


def underruns_shown(page: Page) -> int:
    """How many there are the machine decides, not the page; what the worklet counts test_worklet.py shows."""
    count = int(page.text("#underruns"))
    assert page.text("#underruns-note").startswith("dry for " if count else "never ran dry")
    return count


def number(page: Page, selector: str) -> float:
    return float(page.text(selector).split()[0])


def test_a_sentence_is_heard_as_it_came(page: Page) -> None:
    for _ in range(10):  # a browser that has just started may stand still for longer than a first chunk lasts
        page.frames.clear()
        page.sent.clear()
        page.evaluate("heard.length = 0")
        speak(page, TEXT)
        assert page.until(OVER) == "spoken"
        page.until("heard.length > 1 && heard.at(-1).every((sample) => Math.abs(sample) < 1e-4)")  # the tap is behind
        if underruns_shown(page) == 0:
            break
    received, heard = received_samples(page), heard_samples(page)
    assert len(received) == pytest.approx(events(page, "done")[0]["audio_ms"] / 1000 * page.evaluate("rateHz"), abs=2)
    first = int(np.argmax(heard != 0)) - int(np.argmax(received != 0))
    np.testing.assert_array_equal(heard[first : first + len(received)], received)
    assert np.sqrt(np.mean(received**2)) > 0.01
    assert messages_sent(page, "start")[0]["sample_rate"] == page.evaluate("rateHz")
    assert page.text("#transcript") == TEXT == page.text("#heard")


def test_voices_are_mixed_and_the_pitch_is_moved(page: Page) -> None:
    page.until("document.querySelector('#mixed').options.length === 5")
    page.evaluate("document.querySelector('#mixed').value = 'slt'")
    page.evaluate("document.querySelector('#pitch').value = -3")
    page.evaluate("document.querySelector('#pitch').dispatchEvent(new Event('input'))")
    assert page.text("#pitch-shown") == "−3 semitones"
    speak(page, SHORT)
    assert page.until(OVER) == "spoken"
    (start,) = messages_sent(page, "start")
    assert (start["voice"], start["pitch_semitones"]) == ("rms+slt", -3)
    assert not events(page, "error")


def test_words_light_up_in_order_and_the_readouts_are_filled(page: Page) -> None:
    speak(page, TEXT)
    assert page.until(OVER) == "spoken"
    marked, words = page.evaluate("marked"), iter(TEXT.split())
    assert all(word in words for word in marked), marked
    assert len(marked) > 6
    assert number(page, "#ttfa") > 0
    assert page.text("#ttfa-note").startswith("heard after ")
    underruns_shown(page)
    assert number(page, "#rtf") > 0
    assert page.text("#status").startswith("Spoken: ")
    assert page.evaluate("getComputedStyle(document.querySelector('#problem')).display") == "none"


def test_word_by_word(page: Page) -> None:
    page.click("#by-word")
    page.evaluate(
        "{ const one = document.querySelector('#interval'); one.value = 50; one.dispatchEvent(new Event('input')); }"
    )
    assert page.text("#interval-shown") == "50 ms"
    speak(page, TEXT)
    assert page.until(OVER) == "spoken"
    assert [message["text"].strip() for message in messages_sent(page, "append")] == TEXT.split()
    assert "".join(message["text"] for message in messages_sent(page, "append")) == TEXT
    assert page.text("#heard") == TEXT
    underruns_shown(page)


@pytest.mark.parametrize("mode", ["at-once", "by-word"])
def test_stop_tells_what_was_spoken(page: Page, mode: str) -> None:
    page.click(f"#{mode}")
    speak(page, LONG)
    page.until("document.querySelector('#heard').textContent.includes('and so')")
    page.press("Escape")
    assert page.until(OVER) == "stopped"
    spoken, remaining = page.text("#spoken"), page.text("#remaining")
    assert spoken + remaining == LONG
    assert spoken.startswith("The café was open, ")
    assert remaining[:1].isspace(), "a word was cut"
    assert "on and on" in remaining
    for cancel in messages_sent(page, "cancel"):  # none when all had been made already
        assert 0 < cancel["played_ms"] == pytest.approx(1000 * float(page.text("#status").split()[2]), abs=10)
    if mode == "by-word":
        assert events(page, "cancelled")[0]["text_spoken"] == spoken
        assert len(messages_sent(page, "append")) < len(LONG.split())
    page.until("heard.at(-1).every((sample) => Math.abs(sample) < 1e-4)")


def test_the_rest_is_spoken_on_demand(page: Page) -> None:
    speak(page, TEXT)
    page.until("document.querySelector('#heard').textContent.includes('one by')")
    page.click("#stop")
    assert page.until(OVER) == "stopped"
    rest = page.text("#remaining")
    assert page.evaluate("document.activeElement.id") == "speak", "the keyboard was lost with the disabled button"
    page.click("#rest")
    assert page.until(OVER) == "spoken"
    assert messages_sent(page, "append")[-1]["text"] == rest == page.text("#heard")


def test_a_new_text_interrupts_the_old_one(page: Page) -> None:
    speak(page, LONG)
    page.until("document.querySelector('#heard').textContent.includes('café')")
    page.fill("#text", SHORT)
    page.press("Enter", modifiers=2)
    page.until(f"document.querySelector('#transcript').textContent === {json.dumps(SHORT)}")
    assert page.until(OVER) == "spoken"
    underruns_shown(page)


@pytest.mark.parametrize(("text", "code"), [("", "no_text"), (" \n ", "no_text"), ("!!! ...", "unspeakable_text")])
def test_text_that_cannot_be_spoken(page: Page, text: str, code: str) -> None:
    speak_nothing = f"document.querySelector('#text').value = {json.dumps(text)}"
    page.evaluate(speak_nothing)
    page.click("#speak")
    assert page.until(OVER) == "failed"
    assert page.evaluate("document.querySelector('#problem').dataset.code") == code
    assert page.evaluate("document.querySelector('#problem').checkVisibility()")
    assert len(page.text("#problem-text")) > 10
    speak(page, SHORT)
    assert page.until(OVER) == "spoken"
    assert not page.evaluate("document.querySelector('#problem').checkVisibility()")


def test_a_key_is_asked_for(browser: Chromium) -> None:
    with RunningServer(api_keys="open-sesame") as server, opened(browser, server) as page:
        assert not page.evaluate("document.querySelector('#key').checkVisibility()")
        ask(page, SHORT)
        assert page.until(OVER) == "failed"
        assert page.text("#problem-title") == "This server asks for an API key"
        assert page.evaluate("document.activeElement.id") == "key"
        page.fill("#key", "open sesame")  # a browser cannot send it
        page.press("Enter")
        page.until("document.querySelector('#problem-text').textContent.includes('cannot send')")
        page.fill("#key", "open-sesame")
        page.press("Enter")
        assert page.until(OVER) == "spoken"


def test_a_full_server_says_when_to_come_back(browser: Chromium) -> None:
    with RunningServer(slots="1") as server, opened(browser, server) as page:
        with connect(server.ws_url, compression=None) as socket:
            socket.send(json.dumps({"type": "append", "text": "It holds the only slot while it waits for more "}))
            while isinstance(message := socket.recv(timeout=20), bytes) or "waiting" not in message:
                pass
            ask(page, SHORT)
            assert page.until(OVER) == "failed"
            assert page.text("#problem-title") == "The server is busy"
            assert page.evaluate("document.querySelector('#again').disabled")
            assert page.text("#again").startswith("Try again in ")
        page.until("!document.querySelector('#again').disabled")
        page.click("#again")
        assert page.until(OVER) == "spoken"


def test_a_lost_server_is_told(browser: Chromium) -> None:
    with RunningServer() as server, opened(browser, server) as page:
        page.click("#by-word")
        speak(page, LONG)
        page.until("document.querySelector('#heard').textContent.includes('café')")
        server.process.kill()
        assert page.until(OVER) == "failed"
        assert page.text("#problem-title") == "The connection was lost"
        page.click("#again")
        assert page.until("document.querySelector('#problem').dataset.code === 'connection_failed'")
        page.complaints = [one for one in page.complaints if "WebSocket connection" not in one]  # the browser's own


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_every_control_has_a_name(page: Page, pictures: Path, width: int, dark: bool) -> None:
    page.look(width, 1000, dark=dark)
    page.click("#speak")
    page.until("document.querySelector('#heard').textContent.includes('by one')")
    picture = page.screenshot()
    (pictures / f"web-{width}-{'dark' if dark else 'light'}.png").write_bytes(picture)
    assert len(picture) > 20_000
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#by-word")
    controls = {"button", "textbox", "combobox", "slider", "radio", "link"}
    named: list[str] = []
    for node in page.call("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"] and node["role"]["value"] in controls:
            assert node["name"]["value"].strip(), node
            named.append(node["role"]["value"])
    assert controls == set(named)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
def test_what_moves_is_in_view_together_with_the_buttons(page: Page, pictures: Path, width: int, height: int) -> None:
    """Without scrolling: what starts and stops it, the waveform, the word that sounds and all read-outs."""
    page.look(width, height)
    page.click("#speak")
    page.until("document.querySelector('#now').textContent")
    (pictures / f"web-view-{width}.png").write_bytes(page.screenshot())
    seen = ("#speak", "#stop", "#status", "#waveform", "#now", "#ttfa", "#lead", "#underruns", "#rtf-note")
    for selector in seen:
        box = page.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")
        assert box["top"] >= 0, selector
        assert box["bottom"] <= height, selector
        assert box["right"] <= width, selector
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_reference_names_every_route(page: Page, web_server: RunningServer, pictures: Path, width: int) -> None:
    page.look(width, 900)
    page.open(web_server.url + "/docs")
    page.until("document.querySelectorAll('.route').length > 5")
    page.evaluate("document.querySelector('.route').open = true")
    (pictures / f"reference-{width}.png").write_bytes(page.screenshot())
    text = page.text("#routes")
    for part in ("/v1/audio/speech", "/v1/text-to-speech/{voice_id}", "response_format", "mp3", "Retry-After"):
        assert part in text, part
    assert page.evaluate("document.documentElement.scrollWidth") <= width
