"""The natural teacher: our phones in its alphabet, and speech in blocks that survive a kill."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engines.text import FrontEnd
from engines.text.phones import PAUSE, PHONES
from models.packages import PackageError, member, verified, wheels
from models.teachers.kokoro import generate
from models.teachers.kokoro import prepare as preparation
from models.teachers.kokoro.phones import MAX_TOKENS, spell
from models.teachers.kokoro.prepare import pitch
from models.teachers.kokoro.speaker import Spoken
from models.teachers.kokoro.texts import EmptyCorpusError, Texts

FRONT_END = FrontEnd.load()
POOL = ["The sun went down.", "Is it late?", "What a day!", "He asked, and she answered."]


class Murmur:
    """Says each token in two frames of noise; a function of the tokens, as Kokoro is."""

    def say(self, symbols: str, voice: str, speed: float = 1.0) -> Spoken:
        frames = np.full(len(symbols) + 2, max(1, round(2 / speed)))
        rng = np.random.default_rng(len(symbols))
        count = int(frames.sum())
        return Spoken(
            samples=rng.integers(-3000, 3000, 600 * count).astype(np.int16),
            frames=frames,
            f0_hz=rng.uniform(100, 200, 2 * count).astype(np.float32),
            energy=rng.uniform(-9, 8, 2 * count).astype(np.float32),
        )


def test_each_phone_has_tokens_and_each_token_its_phone() -> None:
    spelt = spell(FRONT_END, "Well, is the " + "measure of youth a joy or a chore? Bring boys' thin things.")
    assert len(spelt.symbols) == len(spelt.owner)
    owners = [index for index in spelt.owner if index is not None]
    assert owners == sorted(owners), "in order"
    silent = {index for index, phone in enumerate(spelt.phones) if phone.symbol == PAUSE}
    assert set(range(len(spelt.phones))) - set(owners) <= silent, "only a pause may go unspelt"
    from models.teachers.kokoro.phones import _SPELLING

    assert set(_SPELLING) == set(PHONES) - {PAUSE}


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("The sun is up.", "ðə sˈʌn ɪz ˈʌp."),  # function words unstressed
        ("A.", "ˈA."),  # unless one is the whole answer: unstressed, it is not heard
        ("It's hers?", "ɪts hɜɹz?"),  # a clitic belongs to its word
        ("No, no!", "nˈO, nˈO!"),
    ],
)
def test_spelling(text: str, symbols: str) -> None:
    assert spell(FRONT_END, text).symbols.replace("əɹ", "ɜɹ").replace("ˈɜɹ", "ɜɹ") == symbols


def test_texts_are_a_function_of_the_block() -> None:
    texts = Texts(POOL, ["alpha", "beta", "gamma", "delta", *"abcdefghij"])
    assert list(texts.block(3, 30)) == list(texts.block(3, 30))
    assert list(texts.block(3, 30)) != list(texts.block(4, 30))
    assert list(texts.short(3, 30)) == list(texts.short(3, 30)) != list(texts.short(4, 30))
    assert max(len(job.text.split()) for job in texts.short(3, 100)) <= 8
    odd = list(texts.odd(3, 200))
    assert odd == list(texts.odd(3, 200)) != list(texts.odd(4, 200))
    assert max(len(job.text.split()) for job in odd) > 20
    assert all(any(mark in job.text for job in odd) for mark in ";($")
    with pytest.raises(EmptyCorpusError, match="wordnet-base"):
        Texts([], ["a"])


def test_voices_alternate_by_their_hours(tmp_path: Path) -> None:
    blocks = generate.plan({"one": 2 / 60, "two": 1 / 60}, tmp_path)
    assert [block.voice for block in blocks] == ["one", "two", "one"]
    many = [block.voice for block in generate.plan({"one": 10, "two": 5}, tmp_path)]
    for upto in range(3, len(many), 50):
        assert abs(many[:upto].count("one") - 2 * many[:upto].count("two")) <= 2


def test_blocks_of_other_plans_count(tmp_path: Path) -> None:
    wanted = generate.plan({"one": 3 / 60, "two": 2 / 60}, tmp_path)
    assert generate.missing(wanted) == wanted
    for block in generate.plan({"one": 2 / 60, "two": 4 / 60}, tmp_path):
        block.path.touch()
    assert [block.voice for block in generate.missing(wanted)] == ["one"]
    (left,) = generate.missing(wanted)
    assert not left.path.exists()
    left.path.touch()
    assert generate.missing(wanted) == []
    assert generate.generate({"one": 3 / 60, "two": 2 / 60}, tmp_path, tmp_path, 0), "nothing is made for it"


def test_the_running_plan_keeps_its_blocks(tmp_path: Path) -> None:
    """Numbers and names of blocks that exist somewhere."""
    blocks = generate.plan(generate.parse_hours("af_heart:3,am_michael:2"), tmp_path)
    assert len(blocks) == 300
    assert [block.path.name for block in blocks[:5]] == [
        "00000-af_heart.npz",
        "00001-am_michael.npz",
        "00002-af_heart.npz",
        "00003-am_michael.npz",
        "00004-af_heart.npz",
    ]
    for block in blocks[:40]:
        block.path.touch()
    assert generate.missing(blocks) == blocks[40:]


def test_what_is_held_out_stays_so_among_more_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[str]] = []
    monkeypatch.setattr(preparation, "utterances", lambda blocks: orders.append([path.name for path in blocks]))
    monkeypatch.setattr(preparation, "write", lambda *_: 0.0)
    for blocks in (generate.plan({"one": 0.5}, tmp_path)[:20], generate.plan({"one": 0.5}, tmp_path)):
        for block in blocks:
            block.path.touch()
        preparation.prepare(tmp_path, tmp_path, "one")
    few, many = orders
    assert [name for name in many if name in few] == few, "new ones come between"
    assert few != sorted(few)


def test_a_block_holds_what_was_spoken(tmp_path: Path) -> None:
    texts = Texts(POOL, ["alpha", "beta", "gamma", "delta", *"abcdefghij"])
    block = generate.Block(number=0, voice="one", folder=tmp_path)
    seconds = generate.make(block, Murmur(), FRONT_END, texts, 20)  # type: ignore[arg-type]
    found = list(generate.load(block.path))
    assert sum(len(samples) for _, samples, _ in found) / 24_000 == pytest.approx(seconds)
    for record, samples, prosody in found:
        spelt = spell(FRONT_END, str(record["text"]))
        assert record["symbols"] == spelt.symbols
        assert len(spelt.symbols) <= MAX_TOKENS
        spoken = Murmur().say(spelt.symbols, "one", 1 / record["stretch"])  # type: ignore[operator]
        assert np.array_equal(spoken.samples, samples)
        assert np.allclose(spoken.f0_hz, prosody[:, 0], rtol=1e-3)


def test_pitch_is_read_where_it_sounds() -> None:
    """A value is F0 at the beginning of its frame of 12.5 ms; hops are read at their middle, wherever cut."""
    glide = 100 + np.arange(80, dtype=np.float32)
    found = pitch(glide, start=800, hops=20)
    np.testing.assert_allclose(found, 100 + 80 * (0.05 + 0.01 * (np.arange(20) + 0.5)), rtol=1e-6)
    assert (pitch(np.zeros(80, np.float32), start=0, hops=20) == 0).all(), "unvoiced stays 0"


def test_a_killed_block_is_made_again(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from models.teachers.kokoro import generate
        block = generate.Block(number=0, voice="one", folder=Path({str(tmp_path)!r}))
        with generate.claim(block) as ours:
            block.path.with_suffix(".1.partial").write_bytes(b"half")
            print(ours, flush=True)
            time.sleep(60)
    """)
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "True\n"
    block = generate.Block(number=0, voice="one", folder=tmp_path)
    with generate.claim(block) as ours:
        assert not ours, "another process makes it"
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    assert not block.path.exists()
    with generate.claim(block) as ours:
        assert ours


def test_packages_are_verified(tmp_path: Path) -> None:
    wheel = tmp_path / "some_part-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("some_part/data.bin", b"content")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(f"some-part==1.0 --hash=sha256:{sha256}\n")
    assert member(wheels(pinned, tmp_path)["some-part"], "some_part/data.bin") == b"content"
    pinned.write_text(f"some-part==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(PackageError, match=sha256):
        wheels(pinned, tmp_path)
    pinned.write_text("some-part==1.0\n")
    with pytest.raises(PackageError, match="pins no package"):
        wheels(pinned, tmp_path)
    with pytest.raises(PackageError, match="pinned is"):
        verified(wheel, "1" * 64)
