"""The laws of the engine on a bundle of pocket-tts, through the whole engine: byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.config import EngineConfig
from engines.engine import Engine
from engines.engine_model import Model
from engines.errors import BadParameter, ConfigError, UnknownVoice
from engines.families.base import ScriptState, Verdict
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.family import PocketFamily
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    EndText,
    Failed,
    Finished,
    Flush,
    Submit,
    WaitingForText,
    options,
)
from engines.runtime.onnx_cpu import OnnxCpu
from engines.text import TextSettings
from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.random_checkpoint import write_random
from models.exporting.pocket.export import export
from tests.engine.driving import pcm_of, settle

NAME = "english_7m_refl_2026-10"
TEXT = "Hello there, this is a first sentence to say. And here is another one, which goes on; it has clauses. Bye."
SLOTS = 6


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PocketFamily:
    folder = tmp_path_factory.mktemp("laws")
    write_random(folder / "checkpoint", releases.release(NAME), ("alba", "marius"))
    export(files.read(str(folder / "checkpoint"), ["alba", "marius"], NAME), folder / "bundle")
    return PocketFamily(Bundle.load(folder / "bundle"), OnnxCpu())


@pytest.fixture(scope="module")
def engine(family: PocketFamily) -> Engine:
    backend, config = OnnxCpu(), EngineConfig(slots=SLOTS, workers=False, sheds=False)
    model = Model(
        family=family,
        spec=family.spec(backend),
        talker=family.talker(backend, SLOTS),
        vocoder=family.vocoder(backend, SLOTS),
        drafter=family.drafter(backend, tolerance=0),
        arithmetic=backend.arithmetic,
    )
    return Engine(model, config)


def opened(engine: Engine, name: str, **how: Any) -> None:
    engine.submit(Submit(request_id=name, **({"voice": "alba", "seed": 5} | how)))


def speech(engine: Engine, pieces: Sequence[str], name: str = "one", **how: Any) -> tuple[bytes, list[Any]]:
    opened(engine, name, **how)
    events = []
    for piece in pieces:
        engine.submit(Append(request_id=name, text=piece))
        events += settle(engine)
    engine.submit(EndText(request_id=name))
    events += settle(engine)
    engine.check_integrity()
    return pcm_of(events, name), events


@pytest.fixture(scope="module")
def whole(engine: Engine) -> bytes:
    pcm, _ = speech(engine, [TEXT])
    assert len(pcm) > 48_000
    assert any(pcm)
    return pcm


def test_words_give_the_bytes_of_the_whole_text(engine: Engine, whole: bytes) -> None:
    assert speech(engine, [f"{word} " for word in TEXT.split()])[0] == whole
    assert speech(engine, list(TEXT))[0] == whole


def test_words_give_the_bytes_of_the_whole_on_many_texts(engine: Engine) -> None:
    """18 of the texts of `test_words_give_the_bytes_of_the_whole_on_200_texts`."""
    for first in range(0, 18, SLOTS):
        _compare(engine, _texts()[first : first + SLOTS])


@pytest.mark.slow
def test_words_give_the_bytes_of_the_whole_on_200_texts(engine: Engine) -> None:
    texts = _texts()
    assert len(texts) == 200
    for first in range(0, len(texts), SLOTS):
        _compare(engine, texts[first : first + SLOTS])


def _texts() -> list[str]:
    words = Path("README.md").read_text(encoding="utf-8").split()
    return [" ".join(words[at : at + 2 + at % 9]) + " end" for at in range(0, 1000, 5)]


def _compare(engine: Engine, texts: list[str]) -> None:
    whole = {f"whole{at}": [text] for at, text in enumerate(texts)}
    words = {f"words{at}": [f"{word} " for word in text.split()] for at, text in enumerate(texts)}
    found = _together(engine, whole), _together(engine, words)
    for at in range(len(texts)):
        assert found[0][f"whole{at}"] == found[1][f"words{at}"] != b"", texts[at]


def _together(engine: Engine, pieces: dict[str, list[str]]) -> dict[str, bytes]:
    """All of them at once, a piece of each in turn."""
    events = []
    for at, name in enumerate(pieces):
        opened(engine, name, seed=at)
    for round_ in range(max(map(len, pieces.values()))):
        for name, parts in pieces.items():
            if round_ < len(parts):
                engine.submit(Append(request_id=name, text=parts[round_]))
        events += engine.step()
    for name in pieces:
        engine.submit(EndText(request_id=name))
    events += settle(engine)
    return {name: pcm_of(events, name) for name in pieces}


def test_neighbours_change_nothing(engine: Engine, whole: bytes) -> None:
    for at in range(SLOTS):
        opened(engine, f"n{at}", seed=5 if at == 3 else at, voice="alba" if at == 3 else "marius")
        engine.submit(Append(request_id=f"n{at}", text=TEXT if at == 3 else TEXT[at * 9 :]))
        engine.submit(EndText(request_id=f"n{at}"))
    assert pcm_of(settle(engine), "n3") == whole


def test_seed_voice_and_temperature_change_the_audio(engine: Engine, whole: bytes) -> None:
    others = [
        speech(engine, [TEXT], **how)[0]
        for how in ({"seed": 6}, {"voice": "marius"}, {"options": options(temperature=1.0)})
    ]
    assert len({whole, *others}) == 4
    assert speech(engine, [TEXT], options=options(temperature=0.3))[0] == whole  # the model's own


def test_a_pause_in_the_text_is_no_end(engine: Engine) -> None:
    opened(engine, "slow")
    engine.submit(Append(request_id="slow", text="This first sentence is long enough to speak. And"))
    events = settle(engine)
    assert any(isinstance(event, WaitingForText) for event in events)
    assert pcm_of(events, "slow")  # a chunk that is closed sounds before the text ends
    engine.submit(Flush(request_id="slow"))
    flushed = settle(engine)
    assert pcm_of(flushed, "slow")
    engine.submit(EndText(request_id="slow"))
    assert isinstance(settle(engine)[-1], Finished)
    engine.check_integrity()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 9, 20])
def test_cancel_leaks_nothing(engine: Engine, whole: bytes, steps: int) -> None:
    opened(engine, "gone")
    engine.submit(Append(request_id="gone", text=TEXT))
    events = [event for _ in range(steps) for event in engine.step()]
    engine.submit(Cancel(request_id="gone"))
    events += settle(engine)
    ended = next(event for event in events if isinstance(event, Cancelled))
    assert ended.samples * 2 == len(pcm_of(events, "gone"))
    engine.check_integrity()
    assert speech(engine, [TEXT])[0] == whole  # the slot forgot


def test_the_end_comes_by_itself_or_by_the_guard(engine: Engine) -> None:
    _, events = speech(engine, [TEXT])
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.timings.segments == 3
    assert set(finished.timings.guards) <= {"no_end_of_speech"}
    assert not any(chunk.words for chunk in events if isinstance(chunk, Chunk))


def test_speech_that_never_ends_is_cut_off_and_told(family: PocketFamily) -> None:
    script = family.open(Submit(request_id="endless", voice="alba", seed=1))
    for _ in range(9):
        script.append("One more. ")
        script.flush()
    nothing, frames = np.zeros(family.spec(OnnxCpu()).frame_width, np.float32), 0
    while script.readable or script.state is not ScriptState.STARVED:
        script.read(100)
        while script.state is ScriptState.PREFILL:
            script.prompt(100)
        while script.commit(nothing, -1e9, None) is Verdict.GOES_ON:
            frames += 1
    assert script.guards == {"no_end_of_speech"}
    assert "since the model did not end it" in script.warnings[0]
    assert len(script.warnings) == 1, "each chunk is as long as the others"


def test_text_without_a_sound_is_refused(engine: Engine) -> None:
    for text, words in (("... , !", "no letter and no digit"), ("漢字", "knows none of its characters: 漢字")):
        _, events = speech(engine, [text])
        failed = next(event for event in events if isinstance(event, Failed))
        assert failed.code == "unspeakable_text"
        assert words in failed.message


MARKED = (
    "<think>A joke. Keep [the secret](http://x.y).</think># Hello **there**,\n\n- this *is* a [first](http://x.y/z 't')"
    " sentence [laughs] to `say`. <break time='1s'/>And here is 漢 another **one**."
)
UNMARKED = "Hello there,\n\nthis is a first sentence to say. And here is 漢 another one."


def test_markup_is_not_read(engine: Engine) -> None:
    whole = speech(engine, [UNMARKED])[0]
    for pieces in ([MARKED], list(MARKED), [f"{word} " for word in MARKED.split(" ")]):
        pcm, events = speech(engine, pieces)
        assert pcm == whole
        warnings = next(event for event in events if isinstance(event, Finished)).warnings
        assert "漢" in warnings[0]
        assert warnings[1:] == ("<break> has no effect on this model",)
    kept = options(text_settings=TextSettings(skip_reasoning=False, follow_tags=False))
    aloud, events = speech(engine, [MARKED], options=kept)
    assert len(aloud) > len(whole)
    assert not any("<" in told for told in next(event for event in events if isinstance(event, Finished)).warnings)
    _, events = speech(engine, ["<think>no end"])
    assert "<think> is not closed" in next(event for event in events if isinstance(event, Failed)).message


def test_what_is_left_out_is_told(engine: Engine) -> None:
    _, events = speech(engine, ["Say 漢字 aloud, please."])
    assert "漢字" in next(event for event in events if isinstance(event, Finished)).warnings[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"options": options(speed=1.1)}, "speed 1.1: this model has no speed"),
        ({"options": options(pitch_semitones=2.0)}, "pitch_semitones 2.0: this model has no pitch"),
        (
            {"options": options(timbre=(("alba", 1.0),))},
            "timbre: this model has no mixing of voices",
        ),
        ({"options": options(temperature=3.0)}, "temperature 3.0 is out of range 0 to 2"),
        ({"options": options(pronunciations=(("front", "b"),))}, "pronunciations: this model .* takes no phones"),
        ({"sample_rate_hz": 16_000}, "sample_rate_hz 16000 is not the model's 24000"),
        ({"options": (("mood", "glad"),)}, "mood"),
    ],
)
def test_what_the_model_lacks_is_refused_by_name(family: PocketFamily, how: dict[str, Any], words: str) -> None:
    with pytest.raises(BadParameter, match=words):
        family.validate(Submit(request_id="no", **({"voice": "alba", "seed": 1} | how)))


def test_a_voice_or_a_tolerance_that_is_not_there(family: PocketFamily) -> None:
    with pytest.raises(UnknownVoice, match="'bob' is not in this bundle; valid: alba, marius"):
        family.validate(Submit(request_id="no", voice="bob", seed=1))
    with pytest.raises(ConfigError, match="draft_tolerance 1 needs drafts"):
        family.drafter(OnnxCpu(), tolerance=1)


def test_memory_of_a_slot(family: PocketFamily) -> None:
    """8 layers of 2 heads of 64, keys and values, float: 8 KiB a position; and the decoder's state."""
    spec = family.spec(OnnxCpu())
    assert spec.positions == 352
    assert spec.bytes_per_slot == 352 * 8192 + 4 * 151_872


def test_two_threads_load_twice_only_what_is_halved(family: PocketFamily, loaded: Counter[str]) -> None:
    backend = OnnxCpu(2)
    family.talker(backend, SLOTS).warm_up()
    family.vocoder(backend, SLOTS).warm_up()
    assert loaded == {"step.onnx": 2, "prefill.onnx": 1, "decoder.onnx": 1}
