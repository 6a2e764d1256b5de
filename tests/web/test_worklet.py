"""The player of the audio thread, quantum by quantum: its module is loaded by a page that stands in for the thread."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.chromium import Page, browser_path

pytestmark = pytest.mark.skipif(browser_path() is None, reason="needs Chromium, as Debian's package chromium")

_THREAD = """(async () => {
  globalThis.currentTime = 0;
  globalThis.sampleRate = 24000;
  globalThis.AudioWorkletProcessor = class { port = { postMessage: (message) => reports.push(message) }; };
  globalThis.registerProcessor = (name, one) => { globalThis.Registered = one; };
  await import("/web/player_worklet.js");
  const reports = [];
  const player = new Registered();
  const tell = (type, fields = {}) => player.port.onmessage({ data: { type, utterance: 1, ...fields } });
  let next = 0;
  const ramp = (count) => Int16Array.from({ length: count }, () => (next++ % 30000) + 1).buffer;
  const out = [];
  const run = (quanta) => {
    for (let i = 0; i < quanta; i += 1) {
      const block = new Float32Array(128);
      if (!player.process([], [[block]])) throw new Error("the node would be dropped");
      out.push(...block);
    }
  };
  const played = () => out.map((sample) => Math.round(sample * 32768));
  tell("begin", { prerollSamples: 256 });
  SCRIPT
})()"""


def on_thread(page: Page, script: str) -> Any:
    return page.evaluate(_THREAD.replace("SCRIPT", script))


def test_every_sample_once_and_in_order_while_the_ring_wraps_and_grows(page: Page) -> None:
    wrong, last = on_thread(
        page,
        """
        for (let i = 0; i < 300; i += 1) { tell("audio", { pcm: ramp(3000) }); run(10); }
        tell("end");
        run(6000);
        const heard = played().slice(0, next);
        return [heard.findIndex((sample, i) => sample !== (i % 30000) + 1), reports.at(-1)];
        """,
    )
    assert wrong == -1
    assert last["ended"]
    assert not last["stopped"]
    assert last["played"] == 900_000
    assert last["underruns"] == 0


def test_it_waits_for_its_preroll_but_not_for_what_will_never_come(page: Page) -> None:
    before, after = on_thread(
        page,
        """
        tell("audio", { pcm: ramp(200) });
        run(4);
        const before = played().filter(Boolean).length;
        tell("waiting");
        run(4);
        return [before, played().filter((sample) => sample > 1).length];
        """,
    )
    assert before == 0
    assert after >= 199


@pytest.mark.parametrize(("excuse", "underruns"), [("", 1), ('tell("waiting");', 0)])
def test_dry_is_an_underrun_unless_there_was_no_text(page: Page, excuse: str, underruns: int) -> None:
    report = on_thread(
        page,
        f"""
        tell("audio", {{ pcm: ramp(512) }});
        {excuse}
        run(16);
        tell("audio", {{ pcm: ramp(512) }});
        tell("end");
        run(16);
        return reports.at(-1);
        """,
    )
    assert report["underruns"] == underruns
    assert (report["drySamples"] > 0) == bool(underruns)
    assert report["played"] == 1024
    assert report["ended"]


def test_stop_is_silence_after_one_quantum_and_says_what_was_played(page: Page) -> None:
    report, tail, later = on_thread(
        page,
        """
        tell("audio", { pcm: ramp(5000) });
        run(10);
        tell("stop");
        run(1);
        const report = reports.at(-1), at = out.length;
        tell("audio", { pcm: ramp(5000) });
        run(3);
        return [report, out.slice(at - 2, at), out.slice(at).filter(Boolean).length];
        """,
    )
    assert report["stopped"]
    assert report["played"] == 11 * 128
    assert abs(tail[1]) < abs(tail[0]) < 0.002
    assert later == 0


def test_nothing_of_the_one_before_is_played(page: Page) -> None:
    first, report = on_thread(
        page,
        """
        tell("audio", { pcm: ramp(5000) });
        run(10);
        tell("begin", { utterance: 2, prerollSamples: 0 });
        tell("audio", { utterance: 1, pcm: ramp(5000) });
        tell("audio", { utterance: 2, pcm: new Int16Array(1024).fill(-7).buffer });
        tell("end", { utterance: 2 });
        out.length = 0;
        run(16);
        return [played()[0], reports.at(-1)];
        """,
    )
    assert first == -7
    assert report["played"] == 1024
    assert report["utterance"] == 2
