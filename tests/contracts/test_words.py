"""The check of retired words finds them, and finds none here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts import words


def test_none_is_left() -> None:
    assert list(words.found(words.tracked())) == []


def test_names_count_and_texts_to_speak_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/a.py").write_text('TEXT = "Nobody knows."\nthe_newcomer = TEXT\n')
    monkeypatch.setattr(words, "_ROOT", tmp_path)
    assert list(words.found(["tests/a.py"])) == ["tests/a.py:2: 'newcomer'"]


def test_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server/a.py").write_text('"""Fine."""\n# Nobody knows the lobby.\n')
    (tmp_path / "b.py").write_text("# Nobody knows the Throng.\n")
    monkeypatch.setattr(words, "_ROOT", tmp_path)
    assert sorted(words.found(["server/a.py", "b.py", "gone.py"])) == [
        "b.py:1: 'Nobody'",
        "b.py:1: 'Throng'",
        "server/a.py:2: 'Nobody'",
        "server/a.py:2: 'lobby'",
    ]
