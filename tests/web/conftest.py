"""One browser and one server for all tests of the page; each test has a fresh page.

Ahead of the page's own scripts runs `_RECORD`: it listens in at the loudspeaker and notes every word that is marked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.edge.conftest import RunningServer
from tests.web.chromium import Chromium, Page

_RECORD = """
globalThis.heard = [];
globalThis.marked = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    const tap = this.context.createScriptProcessor(16384, 1, 1);
    tap.onaudioprocess = ({ inputBuffer }) => heard.push(inputBuffer.getChannelData(0).slice());
    globalThis.rateHz = this.context.sampleRate;
    connect.call(tap, to);
    connect.call(this, tap);
  }
  return connect.call(this, to, ...rest);
};
addEventListener("DOMContentLoaded", () => {
  const mark = document.querySelector("mark");
  if (mark) new MutationObserver(() => mark.textContent && marked.push(mark.textContent))
    .observe(mark, { childList: true, characterData: true, subtree: true });
});
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    with Chromium() as one:
        yield one


@pytest.fixture(scope="session")
def web_server() -> Iterator[RunningServer]:
    with RunningServer() as running:
        yield running


@contextmanager
def opened(browser: Chromium, server: RunningServer) -> Iterator[Page]:
    """At the end nothing may have been asked of another host, and nothing complained of."""
    with browser.page() as page:
        page.look(1280, 1000)
        page.open(server.url + "/", before=_RECORD)
        page.until("document.querySelector('#voice').options.length")
        yield page
        assert page.complaints == []
        assert {url.split("/")[2] for url in page.requests} == {server.url.split("/")[2]}


@pytest.fixture
def page(browser: Chromium, web_server: RunningServer) -> Iterator[Page]:
    with opened(browser, web_server) as one:
        yield one


@pytest.fixture(scope="session")
def pictures() -> Path:
    folder = Path(__file__).resolve().parents[2] / "build"
    folder.mkdir(exist_ok=True)
    return folder
