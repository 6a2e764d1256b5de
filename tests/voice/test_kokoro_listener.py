"""Codes of text that is not spoken: what the listener takes in, that it learns, and blocks that go on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.text import FrontEnd
from models.checkpoint import TrainingState
from models.code_files import OtherEncoderError, read_codes
from models.codec import LEVELS, Codec, FiniteScalarQuantiser
from models.encoder_hash import encoder_sha256
from models.teachers.kokoro import generate, train_listener
from models.teachers.kokoro import unspoken as making
from models.teachers.kokoro.generate import plan
from models.teachers.kokoro.listener import STATES, WIDTH, Listener, agreement, heard
from models.teachers.kokoro.speaker import Speaker, Unspoken
from models.teachers.kokoro.texts import Job, Texts
from models.teachers.kokoro.train_listener import CROP_CODES, Crops, Pair, evaluate, loss, pairs
from models.teachers.kokoro.unspoken import coded, load_unspoken, unspoken
from models.voice_plan import KOKORO_FIXTURE

POOL = ["The sun went down.", "Is it late?", "What a day!", "He asked, and she answered."]
ENCODER = "e" * 64
WORDS = ["alpha", "beta", "gamma", "delta", *"abcdefghij"]


class Thinker(Speaker):
    """Thinks of each token for four frames, in states that tell which token it is."""

    def __init__(self) -> None:
        self.asked = list[str]()

    def think(self, symbols: str, voice: str, speed: float = 1.0) -> Unspoken:
        self.asked.append(symbols)
        frames = np.full(len(symbols) + 2, max(1, round(4 / speed)))
        of_token = np.array([0, *(ord(one) % 97 for one in symbols), 0], np.float32)
        values = np.repeat(of_token, 2 * frames)
        return Unspoken(
            frames=frames,
            f0_hz=np.where(values > 20, 100 + values, 0).astype(np.float32),
            energy=np.where(values > 0, 5, -5).astype(np.float32),
            states=np.outer(values, np.linspace(-1, 1, STATES)).astype(np.float32),
        )


def ramp(count: int) -> Unspoken:
    values = np.arange(count, dtype=np.float32)
    return Unspoken(
        frames=np.array([count // 2]),
        f0_hz=100 + values,
        energy=values,
        states=np.repeat(values[:, None], STATES, axis=1),
    )


def test_states_are_read_at_the_middle_of_each_hop() -> None:
    found = heard(ramp(80), start=1600, hops=40)
    assert found.shape == (40, WIDTH)
    place = 80 * (0.1 + 0.01 * (np.arange(40) + 0.5))
    np.testing.assert_allclose(found[:, 0], place, rtol=1e-5)
    np.testing.assert_allclose(found[:, STATES], place, rtol=1e-5)
    np.testing.assert_allclose(50 * np.exp(found[:, -2]), 100 + place, rtol=1e-5)
    assert found[:, -1].all()
    beyond = heard(ramp(80), start=15_840, hops=8)
    assert beyond[-1, 0] == 79, "the last one holds"


def test_levels_become_the_quantisers_codes() -> None:
    quantiser, z = FiniteScalarQuantiser(), 2 * torch.randn(1, 50, 4)
    listener = Listener()
    listener.forward = lambda seen: quantiser.levels(z)  # type: ignore[method-assign]
    assert listener.codes(np.zeros((200, WIDTH), np.float32)).tolist() == quantiser(z)[1][0].tolist()
    listener.forward = lambda seen: 100 * z  # type: ignore[method-assign]  # it may answer anything
    found = listener.codes(np.zeros((200, WIDTH), np.float32))
    assert found.min() >= 0
    assert found.max() < np.prod(LEVELS)


def test_it_learns_what_the_states_say() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    directions = torch.tensor(rng.standard_normal((WIDTH, 4)) / 8).float()
    found = []
    for _ in range(12):
        slow = torch.tensor(rng.standard_normal((40, WIDTH))).float()
        found.append(Pair(seen=slow.repeat_interleave(4, 0).half(), levels=(slow @ directions).clamp(-3.5, 3.5)))
    crops, listener = Crops(found, np.random.default_rng(0)), Listener(48)
    listener.adapt(torch.cat([one.seen.float() for one in crops.train]))
    before = evaluate(listener, crops.held_out)["levels"]
    optimiser = torch.optim.AdamW(listener.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        loss(listener, *crops.draw(8)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert evaluate(listener, crops.held_out)["levels"] < 0.6 * before


def test_agreement_counts_digits_and_codes() -> None:
    ours = torch.tensor([[0.2, 1.4, -2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    theirs = torch.tensor([[0.0, 1.6, -2.0, 3.0], [0.0, 0.0, 0.0, 2.0]])
    found = agreement(ours, theirs)
    assert (found["equal_digits"], found["equal_codes"], found["within_one_level"]) == (0.75, 0.0, 0.5)
    assert found["levels"] == pytest.approx(2.4 / 8)


def test_an_utterance_has_as_many_codes_as_its_sound_would() -> None:
    speaker = Thinker()
    one = coded(FrontEnd.load(), speaker, Listener().eval(), Job(text=POOL[3], stretch=1.0), "am_michael", 1)
    assert one is not None
    assert (one.speaker, one.stretch) == (1, 1.0)
    assert len(one.phones) == len(one.ends) == len(one.pauses)
    assert 0 <= 4 * len(one.codes) - one.ends[-1] < 4, "padded to a whole code"
    assert coded(FrontEnd.load(), speaker, Listener().eval(), Job(text="...", stretch=1.0), "af_heart", 0) is None


def test_blocks_go_on_where_they_were(tmp_path: Path) -> None:
    hours, texts, listener = {"af_heart": 0.03, "am_michael": 0.02}, Texts(POOL, WORDS), Listener().eval()
    assert unspoken(hours, tmp_path, Thinker(), listener, ENCODER, texts)
    whole = {path.name: path.read_bytes() for path in tmp_path.glob("*.pkl")}
    assert len(whole) == len(plan(hours, tmp_path)) == 3
    (tmp_path / "00001-am_michael.pkl").unlink()
    again = Thinker()
    assert unspoken(hours, tmp_path, again, listener, ENCODER, texts)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pkl")} == whole
    first, *_ = load_unspoken(tmp_path, ["am_michael"], ENCODER).examples
    assert {one.speaker for one in load_unspoken(tmp_path, list(hours), ENCODER).examples} == {0, 1}
    assert first.speaker == 1
    assert again.asked, "only what was missing"
    assert len(again.asked) < sum(len(load_unspoken(tmp_path, [voice], ENCODER).examples) for voice in hours)


def test_blocks_of_another_encoder_are_refused(tmp_path: Path) -> None:
    hours, texts, listener = {"af_heart": 0.02}, Texts(POOL, WORDS), Listener().eval()
    unspoken(hours, tmp_path, Thinker(), listener, ENCODER, texts)
    message = f"00000-af_heart.pkl is of encoder {ENCODER[:12]}, the listener of encoder {'f' * 12}.*Delete .*00000-af"
    with pytest.raises(OtherEncoderError, match=message):
        unspoken(hours, tmp_path, Thinker(), listener, "f" * 64, texts)
    with pytest.raises(OtherEncoderError, match=message):
        load_unspoken(tmp_path, list(hours), "f" * 64)


def commanded(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
    module.main()


def untrained(folder: Path, steps: int) -> TrainingState:
    """A codec, and a listener of it that has taken so many steps."""
    codec, listener = Codec(1).eval(), Listener()
    torch.save({"network": codec.state_dict(), "step": 1}, folder / "codec.pt")
    optimiser, rng = torch.optim.AdamW(listener.parameters()), np.random.default_rng(0)
    state = TrainingState(folder / "listener.pt", listener, optimiser, 1.0, rng, 3, encoder_sha256(codec))
    state.step = steps
    state.compare(1.0)
    state.save()
    return state


def test_a_listener_that_is_done_hears_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained(tmp_path, 3)
    monkeypatch.setattr(train_listener, "Speaker", lambda *_: pytest.fail("no speech is needed"))
    paths = ["--codec", tmp_path / "codec.pt", "--out", tmp_path / "listener.pt", "--speech", tmp_path]
    commanded(train_listener, monkeypatch, *paths, "--steps", 3, "--resume")
    assert torch.load(tmp_path / "listener.pt", weights_only=False)["step"] == 3
    torch.save({"network": Codec(1).state_dict(), "step": 1}, tmp_path / "codec.pt")
    with pytest.raises(OtherEncoderError, match=r"listener\.pt is of encoder .*Delete .*listener\.pt"):
        commanded(train_listener, monkeypatch, *paths, "--steps", 3, "--resume")


def test_unspoken_codes_become_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = untrained(tmp_path, 3).encoder
    monkeypatch.setattr(making, "Speaker", lambda *_: Thinker())
    monkeypatch.setattr(making, "Texts", lambda: Texts(POOL, WORDS))
    paths = ["--listener", tmp_path / "listener.pt", "--out", tmp_path / "unspoken", "--pickle", tmp_path / "more.pkl"]
    commanded(making, monkeypatch, *paths, "--hours", "af_heart:0.03,am_michael:0.02")
    more = read_codes(tmp_path / "more.pkl")
    assert more.encoder_sha256 == encoder
    assert len(more.examples) > 3
    assert {one.speaker for one in more.examples} == {0, 1}


def test_a_block_of_another_speaker_is_refused() -> None:
    """Its states would be of other moments than its sound."""
    (block,) = KOKORO_FIXTURE.glob("*.npz")
    records = [one for one, _, _ in generate.load(block)]
    assert len(records) > 1
    with pytest.raises(ValueError, match="another speaker"):
        pairs([block], Thinker(), Codec(2).eval(), ["af_heart", "am_michael"])


def test_pairs_are_of_one_length() -> None:
    (block,) = KOKORO_FIXTURE.glob("*.npz")
    frames = {str(record["symbols"]): record["frames"] for record, _, _ in generate.load(block)}

    class Same(Thinker):
        def think(self, symbols: str, voice: str, speed: float = 1.0) -> Unspoken:
            counts = np.array(frames[symbols])
            values = np.ones(2 * int(counts.sum()), np.float32)
            return Unspoken(
                frames=counts, f0_hz=100 * values, energy=values, states=np.ones((len(values), STATES), np.float32)
            )

    found = pairs([block], Same(), Codec(2).eval(), ["af_heart", "am_michael"])
    assert found
    for one in found:
        assert len(one.seen) == 4 * len(one.levels) >= 4 * CROP_CODES
    assert train_listener.Crops(found, np.random.default_rng(0)).draw(3)[1].shape == (3, CROP_CODES, 4)
