"""What the int8 table calls worse, and that it says so when a bar is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.judge.int8 import compare, misses, sentences, with_general, write


def test_worse_follows_the_measure() -> None:
    assert compare("rms everyday wer", 0.10, 0.13)["worse_by"] == pytest.approx(0.03)
    assert compare("rms resynthesis stoi", 0.93, 0.90)["worse_by"] == pytest.approx(0.03)
    assert compare("rms resynthesis stoi", 0.90, 0.93)["worse_by"] < 0


def test_each_measure_has_its_bar(tmp_path: Path) -> None:
    fine = {"rms everyday wer": compare("rms everyday wer", 0.1, 0.119), "a stoi": compare("a stoi", 0.9, 0.8901)}
    assert misses(fine) == []
    write(fine, tmp_path)
    assert "All within the bars." in (tmp_path / "int8.md").read_text()
    broken = {"rms closed wer": compare("rms closed wer", 0.1, 0.121), "a stoi": compare("a stoi", 0.9, 0.889)}
    assert len(misses(broken)) == 2
    write(broken, tmp_path)
    assert "Not within the bars: rms closed wer: int8 is worse by 0.0210" in (tmp_path / "int8.md").read_text()
    assert json.loads((tmp_path / "int8.json").read_text())["a stoi"]["worse_by"] == 0.011


def test_single_free_lists_bind_the_first_voice_only() -> None:
    lists = {"everyday": 0.1, "harvard": 0.3}
    rows = {
        f"{voice} {name} wer": compare("wer", before, before + (0.03 if name == "harvard" else 0.0))
        for voice in ("rms", "slt")
        for name, before in lists.items()
    }
    figures = with_general(rows)
    assert figures["slt general wer"]["worse_by"] == pytest.approx(0.015)
    assert [miss.split(":")[0] for miss in misses(figures)] == ["rms harvard wer"]
    rows["slt everyday wer"] = compare("wer", 0.1, 0.12)
    assert "slt general wer" in " ".join(misses(with_general(rows)))
    assert len(misses(rows)) == 2, "without the mean each list is judged"


def test_committed_figures_keep_the_bars() -> None:
    path = Path(__file__).parents[2] / "docs" / "measurements" / "int8.json"
    figures = json.loads(path.read_text())
    assert misses(figures) == []
    assert {
        f"{voice} {name} wer" for voice in ("rms", "slt") for name in ("closed", "everyday", "harvard", "general")
    } <= set(figures)
    assert len(sentences("harvard")) == 20
