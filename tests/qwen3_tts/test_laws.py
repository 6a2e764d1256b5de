"""What always holds, on a tiny bundle: streamed is whole, words are text, neighbours and moves of rows change nothing,
nothing leaks."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from engines.families.base import ScriptState, Verdict
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.family import Qwen3TtsFamily
from engines.families.qwen3_tts.prompt import Rows, VoicePrefix
from engines.families.qwen3_tts.script import depth_sampling
from engines.families.qwen3_tts.talker import Qwen3TtsTalker
from engines.families.qwen3_tts.tokens import ids_of
from engines.messages import Append, Cancel, Cancelled, EndText, Failed, Finished, Flush, SetPaused, Submit
from engines.runtime.onnx_cpu import OnnxCpu
from engines.text import TextSettings
from tests.qwen3_tts.conftest import MakeEngine, Streams, spoken

TEXT = "Hello world, the quick brown fox speaks. Good morning everyone!"


@pytest.mark.parametrize("rate_hz", [24_000, 8_000, 48_000])
@pytest.mark.parametrize("sizes", [[1] * 12, [2, 1, 4, 5], [12]])
def test_samples_do_not_depend_on_jobs_or_neighbours(
    family: Qwen3TtsFamily, backend: OnnxCpu, bundle: Bundle, sizes: list[int], rate_hz: int
) -> None:
    rng, part = np.random.default_rng(5), bundle.qwen3_tts.talker
    frames = rng.integers(0, part.codes, (3, 12, part.codebooks))
    alone, beside = family.vocoder(backend, 4), family.vocoder(backend, 4)
    none, last = np.zeros(1, np.int64), np.ones(1, np.bool_)
    whole = alone.run(none, frames[1:2], none, none, [rate_hz], last).wait().samples[0]
    slots, start, pieces = np.array([2, 0, 3]), 0, []
    for size in sizes:
        job, first = frames[:, start : start + size], np.full(3, start)
        rates, ends = [8_000, rate_hz, 24_000], np.full(3, start + size == 12)
        pieces.append(beside.run(slots, job, first, np.zeros(3, np.int64), rates, ends).wait().samples[1])
        start += size
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    assert len(whole) == 12 * 1920 * rate_hz // 24_000
    assert np.abs(whole).max() > 0


@pytest.mark.parametrize("blocks", [[40], [8, 32], [9, 5, 3, 23], [1] * 40])
def test_a_prompt_in_any_blocks_leaves_the_same_bits(
    family: Qwen3TtsFamily, backend: OnnxCpu, bundle: Bundle, blocks: list[int]
) -> None:
    part = bundle.qwen3_tts.talker
    rows = np.random.default_rng(6).integers(0, part.codes, (40, 1 + part.codebooks))
    talker = Qwen3TtsTalker(bundle, backend, 2)
    prefix = VoicePrefix(key=None, rows=rows[:0])
    cache = []
    for cut in (blocks, [40]):
        talker.begin(0, prefix)
        held = 0
        for count in cut:
            block = rows[held : held + count]
            offsets = np.array([0, count])
            assert talker.prefill(np.zeros(1, np.int64), block, offsets, np.array([held])).wait().all()
            held += count
        cache.append([np.array(slab.read(0, 1)[:, :, :40]) for slab in talker._slabs.slabs.values()])
    for one, other in zip(*cache, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("cut", ["words", "letters"])
def test_text_in_pieces_is_text_at_once(make_engine: MakeEngine, cut: str) -> None:
    whole = spoken(make_engine(), TEXT)
    pieces = list(TEXT) if cut == "letters" else [f"{word} " for word in TEXT.split()]
    streams = Streams(make_engine())
    streams.submit("one")
    for piece in pieces:
        streams.engine.submit(Append(request_id="one", text=piece))
        for _ in range(3):
            streams.step()
    streams.engine.submit(EndText(request_id="one"))
    assert streams.run()["one"].pcm == whole
    assert len(whole) > 48_000


def test_neighbours_and_seeds(make_engine: MakeEngine) -> None:
    """Others come and go around a stream, so that its row moves."""
    engine = make_engine()
    alone = spoken(engine, TEXT)
    assert alone == spoken(engine, TEXT)
    assert alone != spoken(engine, TEXT, seed=2)
    streams = Streams(engine)
    for number, text in enumerate(
        ["Fox.", "Good morning.", TEXT, "The quick brown fox speaks in a clear voice.", TEXT]
    ):
        streams.submit(f"{number}", seed=1 if text is TEXT else 10 + number)
        streams.say(f"{number}", [text])
        for _ in range(number * 3):
            streams.step()
    heard = streams.run()
    assert heard["2"].pcm == alone
    assert heard["4"].pcm == alone


def test_cancel_at_any_round_leaks_nothing_and_harms_none(make_engine: MakeEngine) -> None:
    engine = make_engine(3)
    alone = spoken(engine, TEXT)
    for rounds in (0, 1, 2, 5, 9, 17):
        streams = Streams(engine)
        for name in ("gone", "kept"):
            streams.submit(name)
            streams.say(name, [TEXT])
        for _ in range(rounds):
            streams.step()
        engine.submit(Cancel(request_id="gone"))
        heard = streams.run()
        assert heard["kept"].pcm == alone
        assert isinstance(heard["gone"].last, Cancelled | Finished)
        assert alone.startswith(heard["gone"].pcm)
        engine.check_integrity()
        assert engine.empty


def test_a_pause_in_the_text_is_no_end(make_engine: MakeEngine, family: Qwen3TtsFamily) -> None:
    streams = Streams(make_engine())
    streams.submit("one")
    streams.engine.submit(Append(request_id="one", text="Hello world, the"))
    for _ in range(60):
        streams.step()
    assert streams.heard["one"].last is None
    ids = len(ids_of(family._tokenizer, "Hello world,"))  # the last piece waits, since a letter could follow
    assert 0 < len(streams.heard["one"].pcm) <= ids * 1920 * 2
    streams.say("one", [" quick brown fox speaks. Good morning everyone!"])
    assert streams.run()["one"].pcm == spoken(make_engine(), TEXT)


def test_a_paused_stream_goes_on_where_it_was(make_engine: MakeEngine) -> None:
    streams = Streams(make_engine())
    for name in ("paused", "other"):
        streams.submit(name)
        streams.say(name, [TEXT])
    for _ in range(8):
        streams.step()
    streams.engine.submit(SetPaused(request_id="paused", paused=True))
    for _ in range(30):
        streams.step()
    streams.engine.submit(SetPaused(request_id="paused", paused=False))
    heard = streams.run()
    assert heard["paused"].pcm == heard["other"].pcm


def test_a_flush_speaks_what_is_there_and_more_may_follow(make_engine: MakeEngine) -> None:
    streams = Streams(make_engine())
    streams.submit("one")
    streams.engine.submit(Append(request_id="one", text="Hello world"))
    streams.engine.submit(Flush(request_id="one"))
    for _ in range(400):
        streams.step()
    before = len(streams.heard["one"].pcm)
    assert before > 0
    assert streams.heard["one"].last is None
    streams.say("one", ["Good morning."])
    heard = streams.run()["one"]
    assert isinstance(heard.last, Finished)
    assert len(heard.pcm) > before


def test_long_text_is_spoken_in_segments(make_engine: MakeEngine) -> None:
    """Nothing is lost, and where it is cut does not depend on how it came."""
    text = " ".join(f"The quick brown fox number {number} speaks." for number in range(12))
    whole = spoken(make_engine(), text)
    streams = Streams(make_engine())
    streams.submit("one")
    streams.say("one", [f"{word} " for word in text.split()])
    heard = streams.run(20_000)["one"]
    assert heard.pcm == whole
    assert isinstance(heard.last, Finished)
    assert heard.last.timings.segments > 3


MARKED = (
    "<think>The user wants [a joke](http://x.y).</think>\n\n# Hello **world**\n\n- the *quick* [brown](http://x.y) fox"
    " [laughs] speaks. <break time='1s'/>Good `morning` everyone!"
)
UNMARKED = "Hello world\n\nthe quick brown fox speaks. Good morning everyone!"


def test_markup_is_not_read(make_engine: MakeEngine) -> None:
    whole, engine = spoken(make_engine(), UNMARKED), make_engine()
    for number, pieces in enumerate(([MARKED], list(MARKED), [f"{word} " for word in MARKED.split(" ")])):
        streams = Streams(engine)
        streams.submit(f"{number}")
        streams.say(f"{number}", pieces)
        heard = streams.run()[f"{number}"]
        assert heard.pcm == whole
        assert isinstance(heard.last, Finished)
        assert "<break> has no effect on this model" in heard.last.warnings
    kept = TextSettings(skip_directions=False)
    assert spoken(engine, "Hello [laughs] world.", text_settings=kept) != spoken(engine, "Hello [laughs] world.")
    assert spoken(engine, "Hello world.") == spoken(engine, "Hello [laughs] world.")


class Given:
    """What a script gives a model that ends each segment `lasts` frames behind its text, or never."""

    def __init__(self, family: Qwen3TtsFamily, *pieces: str, lasts: int | None = 0) -> None:
        self.script = family.open(Submit(request_id="one", voice="serena", seed=1))
        self.ids, self.frames, self._lasts = [list[int]()], [0], lasts
        self._end, self._pad = family._section.text.end, family._section.text.pad
        for piece in pieces:
            self.script.append(piece)
            self._run()
        self.script.end()
        self._run()
        assert self.script.state is ScriptState.DONE

    def _run(self) -> None:
        """As far as the text goes."""
        script, nothing = self.script, np.zeros(16, np.int64)
        while script.readable:
            script.read(1_000)
            while (state := script.state) in (ScriptState.PREFILL, ScriptState.READY):
                if state is ScriptState.PREFILL:
                    script.prompt(1_000)
                    continue
                text = int(script.row()[0])
                self.frames[-1] += 1
                self.ids[-1] += [text] if text not in (self._end, self._pad) else []
                over = self.frames[-1] - len(self.ids[-1])
                ends = self._lasts is not None and over > self._lasts
                if script.commit(nothing, 1.0 if ends else -1.0, None) is not Verdict.GOES_ON:
                    self.ids.append([])
                    self.frames.append(0)


def test_speech_that_never_ends_is_cut_off_and_told(family: Qwen3TtsFamily) -> None:
    endless = Given(family, "Hi.", lasts=None)
    assert 5.0 < sum(endless.frames) * family._section.frame_s < 8.0
    assert endless.script.guards == {"no_end_of_speech"}
    assert "since the model did not end it" in endless.script.warnings[0]
    slow = Given(family, "Hi.", lasts=40)
    assert not slow.script.warnings
    assert not slow.script.guards


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"- the quick brown fox number {number}" for number in range(20)),
        " ".join("the, quick: brown; fox" for _ in range(12)),
        " ".join(f"word{number}" for number in range(60)),
        "one two " + "x" * 90 + " three " + "https://x.y/" + "z/" * 40 + " four",
        "The quick brown fox speaks. Good morning. " * 8,
    ],
)
def test_segments_end_before_words(family: Qwen3TtsFamily, text: str) -> None:
    """And where they do hangs on the text alone."""
    whole = Given(family, text).ids
    assert whole == Given(family, *text).ids == Given(family, *(f"{word} " for word in text.split(" "))).ids
    signs = [map(family._tokenizer.id_to_token, ids) for ids in whole if ids]
    segments = ["".join(one).replace("Ġ", " ").replace("Ċ", "\n") for one in signs]
    assert "".join(segments) == text.strip().removeprefix("- ").replace("\n- ", "\n")
    assert len(segments) > 2
    for before, behind in pairwise(segments):
        boundary = before[-1].isspace() or behind[0].isspace()
        inside = f"{before.split()[-1]}{behind.split()[0]}"
        assert boundary or len(ids_of(family._tokenizer, inside)) > 12, (before, behind)
        if "Good morning." in text:
            assert before.rstrip(" ").endswith(".")
        if "fox number" in text:
            assert before.endswith("\n")


def test_voice_prefixes_are_computed_once(make_engine: MakeEngine, bundle: Bundle, backend: OnnxCpu) -> None:
    talker, section = Qwen3TtsTalker(bundle, backend, 3), bundle.qwen3_tts
    rows = Rows(section).opening("english", section.codec.speakers["serena"])
    computed: list[int] = []
    prefill = talker._prefill_row

    def counted(row: int, block: np.ndarray) -> bool:
        computed.append(len(block))
        return prefill(row, block)

    talker._prefill_row = counted  # type: ignore[method-assign]
    prefix, frames = VoicePrefix(key="one", rows=rows), []
    sampling = [depth_sampling(section, {"temperature": 0.0})]
    for slot in (0, 2, 1):
        assert talker.begin(slot, prefix) == len(rows)
        row = Rows(section).of(9, section.codec.begin)[None, None]
        zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        steps = talker.step(one * slot, row, one, one * len(rows), sampling, np.array([[1, 0]]), None).wait()
        frames.append((zero, steps.frames.tolist()))
    assert computed == [len(rows)]
    assert frames[0][1] == frames[1][1] == frames[2][1]
    for number in range(6):  # more voices than are kept
        talker.begin(0, VoicePrefix(key=f"other {number}", rows=rows))
    talker.begin(0, prefix)
    assert len(computed) == 8


def test_unspeakable_text_is_refused_by_name(make_engine: MakeEngine) -> None:
    streams = Streams(make_engine())
    streams.submit("empty")
    streams.say("empty", ["  \n "])
    streams.submit("who", voice="rms")
    streams.submit("slow", speed=2)
    streams.submit("speech", language="klingon")
    streams.submit("hot", temperature=9)
    streams.submit("loud", instruction="shout")
    streams.say("loud", ["Hello."])
    streams.submit("long", instruction="ж" * 500)  # few characters, and more than half of a slot's positions
    heard = streams.run()
    messages = {name: one.last.message if isinstance(one.last, Failed) else "" for name, one in heard.items()}
    assert "nothing in the text can be spoken" in messages["empty"]
    assert "voice 'rms' is not in this bundle; valid: serena, aiden, dylan" in messages["who"]
    assert "speed is not an option" in messages["slow"]
    assert "language 'klingon' is not spoken; valid: auto, english" in messages["speech"]
    assert "temperature 9 is out of range 0 to 2" in messages["hot"]
    assert "instruction: it has" in messages["long"]
    assert isinstance(heard["loud"].last, Finished)


def test_options_change_the_audio(make_engine: MakeEngine) -> None:
    engine = make_engine()
    plain = spoken(engine, "Hello.")
    assert plain == spoken(engine, "Hello.", language="auto")
    for options in ({"language": "french"}, {"instruction": "speaks"}, {"temperature": 1.7}, {"top_k": 1}):
        assert plain != spoken(engine, "Hello.", **options), options
    greedy = spoken(engine, "Hello.", temperature=0)
    assert greedy == spoken(engine, "Hello.", seed=9, temperature=0)


def test_two_threads_load_each_graph_once(family: Qwen3TtsFamily, bundle: Bundle, loaded: Counter[str]) -> None:
    backend, parts = OnnxCpu(2), bundle.qwen3_tts
    family.talker(backend, 4).warm_up()
    family.vocoder(backend, 4).warm_up()
    assert loaded == dict.fromkeys([parts.talker.step, parts.talker.prefill, parts.vocoder.file], 1)
