"""The parts of the side-by-side benchmark that need neither a peer nor a clock."""

from __future__ import annotations

import re
import sys

import pytest

from loadtests.peers import lm, naive, page, pocket, record
from loadtests.peers.flite_edge import cut_sentences
from loadtests.peers.gguf_file import Shape
from loadtests.peers.listener import RATE_HZ, Heard
from loadtests.peers.worker import Worker

_ECHO = """
import json, sys
for line in sys.stdin:
    job = json.loads(line)
    if job["number"] == 3: sys.exit(5)
    print(json.dumps({"number": job["number"] + 1}), flush=True)
"""


def test_the_shape_counts_what_a_decoder_has() -> None:
    shape = Shape(width=4, layers=2, heads=2, kv_heads=1, head_dim=3, hidden=5, vocabulary=7)
    attention = 4 * (2 + 1 + 1) * 3 + 2 * 3 * 4
    feed_forward = 3 * 4 * 5
    assert shape.parameters == 2 * (attention + feed_forward + 2 * 4) + 2 * 7 * 4 + 4


def test_the_peer_shape_is_the_one_asked_for_and_fits_blocks_of_32() -> None:
    shape = lm.SHAPES["peer"]
    assert (shape.width, shape.layers, shape.heads, shape.kv_heads) == (512, 8, 8, 2)
    assert 24.65e6 < shape.parameters < 24.85e6
    assert all(size[-1] % 32 == 0 for _, size in shape.tensors())


def test_each_rival_stands_with_its_better_thread_count() -> None:
    times = {
        "ours fp32, 1 threads": [4.0, 4.0, 4.0],
        "ours fp32, 2 threads": [2.0, 2.0, 2.5],
        "llama f32, 1 threads flash=True": [6.0, 6.0, 6.0],
        "llama f32, 2 threads flash=True": [7.0, 7.0, 7.0],
        "llama q8_0, 2 threads flash=True": [1.0, 1.0, 1.0],
    }
    row = lm.table_row(16, times)
    assert row["rivals"]["ours fp32"]["setting"] == "2 threads"
    assert row["rivals"]["ours fp32"]["tokens_per_s"] == 8000
    assert row["llama_best_is"] == "llama q8_0"
    assert row["ratios"]["ours fp32 against llama.cpp f32"]["of_medians"] == 3.0
    assert row["ratios"]["ours fp32 against llama.cpp best"]["of_medians"] == 0.5
    assert row["ratios"]["ours fp32 against llama.cpp best"]["rounds"]["least"] == 0.4


def test_rivals_take_turns_in_both_directions() -> None:
    asked: list[str] = []

    class Rival(Worker):
        def __init__(self, name: str) -> None:
            self._name = name

        def ask(self, job: dict[str, object]) -> dict[str, object]:
            asked.append(self._name)
            return {"step_ms": float(len(asked))}

    times = lm.take_turns({"a": (Rival("a"), {}), "b": (Rival("b"), {})}, rounds=2, seconds=0.1)
    assert asked == ["a", "b", "b", "a"]
    assert times == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_a_worker_answers_and_its_death_is_told() -> None:
    with Worker([sys.executable, "-c", _ECHO]) as worker:
        assert worker.ask({"number": 1}) == {"number": 2}
        with pytest.raises(RuntimeError, match="ended with 5"):
            worker.ask({"number": 3})


@pytest.mark.parametrize(
    ("text", "ended", "sentences", "rest"),
    [
        ("One. Two", False, ["One."], "Two"),
        ("One. Two", True, ["One.", "Two"], ""),
        ("It is 3.5 now! Yes.", False, ["It is 3.5 now!"], "Yes."),
        ("  Over\ntwo lines? ", True, ["Over two lines?"], ""),
        ("", True, [], ""),
    ],
)
def test_sentences_are_cut_where_white_space_follows_a_mark(
    text: str, ended: bool, sentences: list[str], rest: str
) -> None:
    assert cut_sentences(text, ended) == (sentences, rest)


def test_first_audio_is_the_first_arrival_and_what_plays_before_the_sound() -> None:
    quiet, tone = bytes(2 * RATE_HZ * 40 // 1000), 1600 * b"\x00\x20"
    pcm = bytearray(quiet + tone)
    assert Heard(pcm=pcm, arrivals=[(0.1, len(pcm))]).ttfa_s == pytest.approx(0.14)
    ran_dry = Heard(pcm=pcm, arrivals=[(0.1, len(quiet) // 2), (0.5, len(pcm))])
    assert ran_dry.ttfa_s == pytest.approx(0.52)


def test_the_gain_of_batching_is_taken_round_by_round() -> None:
    slow = {"audio_s": 8.0, "cpu_s": 4.0, "wall_s": 4.0, "ttfa_s": [1.0, 2.0, 3.0]}
    fast = {"audio_s": 8.0, "cpu_s": 1.0, "wall_s": 2.0, "ttfa_s": [0.5, 0.5, 0.6]}
    found = naive.summary([{"naive": slow, "batched": fast}] * 3)
    assert found["gain"]["cpu"]["median"] == 4.0
    assert found["naive"]["ttfa_ms_p95"]["median"] == 3000.0
    assert found["batched"]["audio_s_per_cpu_s"]["median"] == 8.0


def test_rounds_of_pocket_are_compared_in_turn() -> None:
    def runs(*cpu_s: float) -> list[dict[str, float]]:
        return [{"cpu_s": one, "audio_s": 2, "short_s": 0.1} for one in cpu_s]

    found = pocket.compared("int8", runs(4, 6, 5), runs(1, 1, 2))
    assert found["times_fewer"] == {"median": 4, "least": 2.5, "greatest": 6}


def test_streams_climb_until_two_rungs_do_not_hold() -> None:
    tried: list[int] = []
    assert pocket.most(lambda rung: tried.append(rung) or rung in (1, 2, 4), (1, 2, 3, 4, 5, 6, 7)) == 4
    assert tried == [1, 2, 3, 4, 5, 6]


def test_a_table_has_as_many_cells_in_every_row() -> None:
    assert page.table(("a", "b"), [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |"
    with pytest.raises(ValueError, match="2 columns"):
        page.table(("a", "b"), [(1,)])


def test_the_page_says_what_was_skipped_and_what_is_missing() -> None:
    text = page.render({"flite": {"skipped": "no flite.h"}})
    assert "Skipped: no flite.h." in text
    assert text.count("Not measured.") == 3


def test_the_page_is_made_from_the_figures_that_are_there() -> None:
    path, figures = record.MEASUREMENTS / "peers.md", page.found()
    assert path.exists() == bool(figures)
    if figures:
        assert path.read_text() == page.render(figures)


def test_peers_are_pinned_from_above() -> None:
    files = sorted(record.REQUIREMENTS.parent.glob("requirements*.txt"))
    lines = [line for file in files for line in file.read_text().splitlines() if line and line[0] not in "#-"]
    assert len(files) == 2
    assert all(re.search(r"(<|==)\d", line) for line in lines), lines
