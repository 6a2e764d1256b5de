"""A headless Chromium, driven through its DevTools protocol: real clicks and keys, and a record of what a page did.

It knows nothing of our page. Nothing is downloaded: the browser is the machine's own.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

from loadtests import leash

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
_WITHIN_S = 30.0
_UNTIL = """new Promise((resolve, reject) => {
  const late = performance.now() + %d;
  const ask = () => {
    const found = (%s);
    if (found) resolve(found);
    else if (performance.now() > late) reject(new Error("it did not come to that"));
    else setTimeout(ask, 15);
  };
  ask();
})"""


def browser_path() -> str | None:
    return next((path for path in map(shutil.which, _NAMES) if path), None)


class Page:
    """What it asked of the network, what came over WebSockets, and what it complained of, in order."""

    def __init__(self, devtools: ClientConnection, session: str) -> None:
        self._devtools, self._session, self._calls = devtools, session, 0
        self.requests: list[str] = []
        self.responses: list[dict[str, Any]] = []
        self.frames: list[str | bytes] = []  # received
        self.sent: list[str] = []
        self.complaints: list[str] = []
        self._loads = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params, "sessionId": self._session}
        self._devtools.send(json.dumps(message))
        while True:
            answer = self._next()
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._devtools.recv(timeout=_WITHIN_S + 10))
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif event == "Network.responseReceived":
            self.responses.append(params["response"])
        elif event == "Network.webSocketFrameReceived":
            frame = params["response"]
            data = frame["payloadData"]
            self.frames.append(base64.b64decode(data) if frame["opcode"] == 2 else data)
        elif event == "Network.webSocketFrameSent":
            self.sent.append(params["response"]["payloadData"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(json.dumps(params["entry"]))
        elif event == "Page.loadEventFired":
            self._loads += 1

    # -- what a person does ----------------------------------------------------------------------------------------

    def open(self, url: str, before: str = "") -> None:
        """`before` is run ahead of the page's own scripts."""
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        loads = self._loads
        self.call("Page.navigate", url=url)
        while self._loads == loads:
            self._next()

    def click(self, selector: str) -> None:
        """With the mouse, so that the page has its user's gesture."""
        place = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center'}); const {x, y, width, height} = one.getBoundingClientRect();"
            " return {x: x + width / 2, y: y + height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **place, button="left", clickCount=1)

    def press(self, key: str, modifiers: int = 0) -> None:
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}
        told = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": modifiers}
        text = {"text": "\r"} if key == "Enter" and not modifiers else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **told, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def fill(self, selector: str, text: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])

    # -- what a test asks ------------------------------------------------------------------------------------------

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> Any:
        """What the condition is once it is true."""
        return self.evaluate(_UNTIL % (1000 * _WITHIN_S, condition))

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))


class Chromium:
    def __init__(self) -> None:
        path = browser_path()
        assert path is not None
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # which Chromium asks for when root runs it
        command = [path, *_FLAGS, *root, f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = leash.start(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "DevTools listening on " in line:
                break
        else:
            raise AssertionError("Chromium ended before it listened")
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)  # a pipe that fills stops it
        self._drain.start()
        url = line.split("DevTools listening on ")[1].strip()
        connecting = connect(url, max_size=None, max_queue=None, compression=None, open_timeout=_WITHIN_S)
        self._connection = ExitStack()
        self._devtools = self._connection.enter_context(connecting)
        self._calls = 0

    @contextmanager
    def page(self) -> Iterator[Page]:
        """A fresh one, without what other pages have stored."""
        context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Page(self._devtools, session)
        finally:
            self._call("Target.disposeBrowserContext", browserContextId=context)

    def _call(self, method: str, **params: object) -> dict[str, Any]:
        self._calls -= 1  # pages count upwards
        self._devtools.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            answer = json.loads(self._devtools.recv(timeout=_WITHIN_S))
            if answer.get("id") == self._calls:
                return dict(answer["result"])

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            self._call("Browser.close")
            self._connection.close()
            self._process.wait(timeout=10)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._drain.join(timeout=10)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._folder.cleanup()
