"""What is made of codes names the encoder that gave them, and is refused beside another one's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import TrainingState
from models.code_files import Coded, OtherEncoderError, read_codes, write_codes
from models.lm_data import Example
from models.train_lm import HELD_OUT, Batches
from models.whole_files import replace_file

OURS, OTHERS = "a" * 64, "b" * 64


def example(seed: int, speaker: int = 0) -> Example:
    rng = np.random.default_rng(seed)
    phones = rng.integers(1, 90, 12)
    ends = np.cumsum(rng.integers(4, 9, 12))
    return Example(
        codes=rng.integers(0, 4096, ends[-1] // 4 + 1),
        phones=phones,
        pauses=np.zeros(12, int),
        ends=ends,
        speaker=speaker,
        stretch=1.0,
    )


def coded(path: Path, encoder: str, seeds: range) -> Path:
    write_codes(path, Coded(encoder_sha256=encoder, examples=[example(seed) for seed in seeds]))
    return path


def state(path: Path, encoder: str | None) -> TrainingState:
    network = torch.nn.Linear(1, 1)
    return TrainingState(
        path, network, torch.optim.SGD(network.parameters(), 1.0), 1.0, np.random.default_rng(0), 2, encoder
    )


def test_codes_name_their_encoder(tmp_path: Path) -> None:
    path = coded(tmp_path / "codes.pkl", OURS, range(3))
    found = read_codes(path)
    assert found.encoder_sha256 == OURS
    assert np.array_equal(found.examples[2].codes, example(2).codes)
    path.write_bytes(pickle.dumps(found.examples))
    with pytest.raises(OtherEncoderError, match=r"codes\.pkl does not name the encoder of its codes; delete it"):
        read_codes(path)


def test_a_kill_while_writing_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = coded(tmp_path / "codes.pkl", OURS, range(3))
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        coded(path, OTHERS, range(30))
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "new", b"half")
    assert path.read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_goes_on_with_its_own_encoder_alone(tmp_path: Path) -> None:
    path = tmp_path / "lm.pt"
    state(path, OURS).save()
    assert state(path, OURS).resume()
    with pytest.raises(
        OtherEncoderError, match=r"lm\.pt is of encoder a{12}, .* b{12}: .*Delete .*lm\.pt and make it again"
    ):
        state(path, OTHERS).resume()
    state(path, None).save()  # as the codec's own
    assert "encoder_sha256" not in torch.load(path, weights_only=False)
    assert state(path, None).resume()
    with pytest.raises(OtherEncoderError, match="does not name its encoder"):
        state(path, OURS).resume()


def test_more_codes_are_of_the_same_encoder(tmp_path: Path) -> None:
    codes, more = coded(tmp_path / "codes.pkl", OURS, range(8)), coded(tmp_path / "more.pkl", OTHERS, range(8, 12))
    command = [sys.executable, "-m", "models.train_lm", "--codes", str(codes), "--more", str(more)]
    done = subprocess.run([*command, "--out", str(tmp_path / "lm.pt")], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"Delete {more} and make it again" in done.stderr
    assert "Traceback" not in done.stderr


def test_held_out_speech_has_been_heard() -> None:
    """The weights that fit it best are kept, so it must not be of codes that the listener gave."""
    spoken, more = [example(seed) for seed in range(60)], [example(seed) for seed in range(1000, 1200)]
    batches = Batches(spoken, 200, np.random.default_rng(0), more)
    assert len(batches.held_out) == 15
    assert all(any(one is other for other in spoken) for one in batches.held_out)
    assert len(batches.train) == 45 + 200
    lengths = [len(one.codes) for one in batches.train]
    assert lengths == sorted(lengths)


def test_held_out_speech_was_never_trained_on() -> None:
    spoken = [example(seed) for seed in range(400)]
    few, many = (Batches(spoken[:count], 200, np.random.default_rng(0)) for count in (200, 400))
    assert len(few.held_out) == len(many.held_out) == HELD_OUT
    trained = {id(one) for one in few.train}
    assert not any(id(one) in trained for one in many.held_out)
