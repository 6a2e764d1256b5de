"""A user's recordings: what a manifest may hold, how sound is read, what is left out."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.text import FrontEnd
from models.recordings import collect as collecting
from models.recordings.audio import UnreadableAudioError, cut, decode, levelled, probe
from models.recordings.collect import TooFewError, TooManyLeftOutError, collect, refuse_few
from models.recordings.manifest import ManifestError, read_manifest
from models.recordings.phone_aligner import recogniser_phones, spoken_words
from models.recordings.timing import words_of
from models.teacher.prepare import load, prepare
from tests.voice.own_recordings import FIXTURE, RATE_HZ, tone, write_lines, write_recordings, write_wav


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd.load()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "Hi."}, "'audio' is missing"),
        ({"audio": "a.wav"}, "'text' is missing"),
        ({"audio": "a.wav", "text": " "}, "text is ' '; a text that is not empty is right"),
        ({"audio": "a.wav", "text": 7}, "text is 7;"),
        ({"audio": "a.wav", "text": "..."}, "text is '...', which cannot be spoken; it needs at least one letter"),
        ({"audio": "a.wav", "text": "Say 你好."}, "cannot be spoken; write it in Latin letters"),
        ({"audio": "a.wav", "text": "Hi.", "speaker": "x"}, "unknown field 'speaker'; there are audio, text, voice"),
        ({"audio": "a.wav", "text": "Hi.", "voice": "../x"}, "voice is '../x'; up to 40 of"),
        ({"audio": "a.wav", "text": "Hi.", "start_s": "1"}, "start_s is '1'; a number of seconds is right"),
        ({"audio": "a.wav", "text": "Hi.", "start_s": True}, "start_s is True;"),
        (
            {"audio": "a.wav", "text": "Hi.", "end_s": 3.0},
            "the cut 0 to 3 s is not inside the file, which lasts 2.00 s",
        ),
        ({"audio": "a.wav", "text": "Hi.", "start_s": 1.0, "end_s": 0.5}, "the cut 1 to 0.5 s is not inside"),
        ({"audio": "a.wav", "text": "Hi.", "end_s": 0.2}, "0.20 s are too short; at least 0.3 s"),
        ({"audio": "long.wav", "text": "Hi."}, "31.0 s are too long; at most 30 s: cut it with start_s and end_s"),
        ({"audio": "b.wav", "text": "Hi."}, "audio 'b.wav' is not a file in"),
        ({"audio": "text.wav", "text": "Hi."}, "audio 'text.wav': it cannot be decoded"),
        (["a.wav", "Hi."], "is not an object;"),
        ("{", "not JSON ("),
        ("[" * 100_000, "not JSON ("),
        ({"audio": "a" * 300 + ".wav", "text": "Hi."}, "is not a file in"),
        ({"audio": "a.wav", "text": "Hi.", "end_s": 10**400}, "end_s is 1000000000"),
        ({"audio": "a.wav", "text": "Hi.", "start_s": float("nan")}, "start_s is nan; a number of seconds is right"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, front_end: FrontEnd, line: Any, message: str) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    write_wav(tmp_path / "long.wav", tone(31.0))
    (tmp_path / "text.wav").write_text("not sound")
    path = tmp_path / "manifest.jsonl"
    fine = json.dumps({"audio": "a.wav", "text": "Hello."})
    path.write_text(f"{fine}\n\n{line if isinstance(line, str) else json.dumps(line)}\n{fine}\n")
    with pytest.raises(ManifestError) as found:
        read_manifest(path, front_end, 0.0)
    assert len(found.value.problems) == 1
    assert found.value.problems[0].startswith(f"{path}:3: ")
    assert message in found.value.problems[0]


def test_all_wrong_lines_are_named_at_once(tmp_path: Path, front_end: FrontEnd) -> None:
    path = write_lines(tmp_path / "manifest.jsonl", [{"audio": f"{n}.wav", "text": "Hi.", "x": 1} for n in range(70)])
    with pytest.raises(ManifestError) as found:
        read_manifest(path, front_end)
    assert len(found.value.problems) == 70
    assert str(found.value).endswith("... and 20 more")


def test_too_little_speech_is_refused_in_minutes(tmp_path: Path, front_end: FrontEnd) -> None:
    write_wav(tmp_path / "a.wav", tone(20.0))
    path = write_lines(tmp_path / "manifest.jsonl", [{"audio": "a.wav", "text": f"Hi {n}."} for n in range(6)])
    with pytest.raises(ManifestError, match=r"'voice' has 2\.0 minutes of sound; at least 10 are needed, 60 or more"):
        read_manifest(path, front_end)
    found = read_manifest(path, front_end, 1.5)
    assert found.warnings == (f"{path}: voice 'voice' has 2.0 minutes; 60 or more are sensible",)
    with pytest.raises(ManifestError, match="no recordings"):
        read_manifest(write_lines(tmp_path / "empty.jsonl", []), front_end)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "none.jsonl", front_end)


def test_cuts_voices_and_low_rates(tmp_path: Path, front_end: FrontEnd) -> None:
    write_wav(tmp_path / "a.wav", tone(3.0, 8000), 8000)
    lines = [
        {"audio": "a.wav", "text": "One\u2028line.", "start_s": 1, "end_s": 2.5},
        {"audio": "a.wav", "text": "Two."},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("\ufeff" + "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    found = read_manifest(path, front_end, 0.0)
    assert found.voices == {"voice": pytest.approx(4.5)}
    assert sum("8000 Hz" in warning for warning in found.warnings) == 1, "once a file"
    first = found.recordings[0]
    assert len(cut(first.audio, first.start_s, first.end_s)) == 24_000
    before = found.sha256
    write_wav(tmp_path / "a.wav", tone(3.1, 8000), 8000)
    assert read_manifest(path, front_end, 0.0).sha256 != before


def test_a_manifest_is_known_wherever_it_lies(
    tmp_path: Path, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    path = write_lines(tmp_path / "manifest.jsonl", [{"audio": "a.wav", "text": "Hi."}])
    monkeypatch.chdir(tmp_path)
    by_name = read_manifest(Path("manifest.jsonl"), front_end, 0.0)
    assert read_manifest(path, front_end, 0.0).sha256 == by_name.sha256


def test_a_line_that_comes_twice_is_used_once(tmp_path: Path, front_end: FrontEnd) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    line = {"audio": "a.wav", "text": "Hi."}
    lines = [line, line | {"text": "Hi there."}, line | {"start_s": 0, "end_s": 2.0}, line | {"end_s": 1.0}]
    path = write_lines(tmp_path / "manifest.jsonl", lines)
    found = read_manifest(path, front_end, 0.0)
    assert [one.line for one in found.recordings] == [1, 2, 4]
    assert found.warnings[0].startswith(f"{path}:3: the same as line 1, so left out")


def test_a_pop_does_not_lower_the_voice() -> None:
    utterances, pcm, _ = load(FIXTURE, "slt")
    quiet = 0.1 * np.array(pcm[: utterances[0].samples], np.float32) / 32768
    popped = quiet.copy()
    popped[8000:8160] += 0.9 * np.sin(0.3 * np.arange(160)).astype(np.float32)
    without, beside = (levelled(wave).astype(float)[9000:] for wave in (quiet, popped))
    assert abs(20 * np.log10(np.sqrt((beside**2).mean() / (without**2).mean()))) < 0.5
    assert np.abs(levelled(popped)).max() <= 0.951 * 32767
    click = np.zeros(16_000, np.float32)
    click[8000] = 0.9
    with pytest.raises(UnreadableAudioError, match="but for a click or two"):
        levelled(click)


def test_long_files_are_resampled_as_they_are_read(tmp_path: Path) -> None:
    path, seconds = tmp_path / "long.wav", 60
    write_wav(path, np.resize(tone(1.0, 48_000), seconds * 48_000), 48_000)
    decode.cache_clear()
    tracemalloc.start()
    found = decode(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == pytest.approx(seconds * RATE_HZ, abs=1)
    assert peak < 2 * found.nbytes, "neither held at 48 kHz nor joined of parts"


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (48_000, 1), (22_050, 2)])
def test_sound_is_read_at_one_rate(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    mono = tone(1.5, rate_hz)
    write_wav(path, np.repeat(mono[:, None], channels, axis=1), rate_hz, channels)
    assert probe(path).seconds == pytest.approx(1.5)
    assert probe(path).sample_rate_hz == rate_hz
    found = cut(path, 0.0, None)
    assert abs(len(found) - 24_000) <= 1
    expected = tone(1.5)[: len(found)] / 32768
    assert np.abs(found[200:-200] - expected[200 : len(found) - 200]).max() < 2e-3


def test_level_and_offset_are_evened_out() -> None:
    loud = levelled((0.2 + tone(1.0, level=0.01)).astype(np.float32)).astype(float) / 32767
    assert abs(loud.mean()) < 1e-3
    assert np.sqrt((loud**2).mean()) == pytest.approx(0.1, rel=0.05)
    clicks = np.zeros(16_000, np.float32)
    clicks[::1600] = 0.5
    assert np.abs(levelled(clicks).astype(int)).max() <= 0.96 * 32767
    with pytest.raises(UnreadableAudioError, match="silent"):
        levelled(np.full(16_000, 0.3, np.float32))
    with pytest.raises(UnreadableAudioError, match="nothing of it"):
        levelled(np.zeros(0, np.float32))


def test_words_are_the_front_ends(front_end: FrontEnd) -> None:
    words = spoken_words(front_end.phones("It's $2, I read: read it!"))
    assert [" ".join(phone.symbol for phone in word) for word in words][:3] == ["ih t s", "t uw", "d aa l er z"]
    assert [phone.symbol for word in words for phone in word].count("pau") == 0
    assert recogniser_phones("ax") == ("AH",)
    assert recogniser_phones("el") == ("AH", "L")
    marks = [mark for _, _, mark in words_of(front_end.phones("Yes! I do, I think."), "Yes! I do, I think.")]
    assert marks == ["!", "", ",", "", "."]


def test_one_wrong_text_is_left_out_and_named(tmp_path: Path, front_end: FrontEnd) -> None:
    manifest, _ = write_recordings(tmp_path)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[3]["text"] = "Nobody ever said anything like this in front of a microphone."
    write_lines(manifest, lines)
    kept = collect(read_manifest(manifest, front_end, 0.0), tmp_path / "raw", processes=1)
    report = json.loads((tmp_path / "raw" / "report.json").read_text())
    assert [one["line"] for one in report["left_out"]] == [4]
    assert report["recordings"] == len(lines)
    assert set(kept) == {"anna", "ben"}
    assert (
        len((tmp_path / "raw" / "anna.jsonl").read_text().splitlines())
        == sum(line["voice"] == "anna" for line in lines) - 1
    )


def test_texts_in_the_wrong_order_are_an_error(tmp_path: Path, front_end: FrontEnd) -> None:
    manifest, _ = write_recordings(tmp_path)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()][:12]
    texts = [line["text"] for line in lines]
    write_lines(manifest, [line | {"text": text} for line, text in zip(lines, texts[5:] + texts[:5])])
    with pytest.raises(TooManyLeftOutError, match=r"voice 'anna': \d+ of 12 recordings were left out.*report\.json"):
        collect(read_manifest(manifest, front_end, 0.0), tmp_path / "raw", processes=1)
    assert len(json.loads((tmp_path / "raw" / "report.json").read_text())["left_out"]) > 2


def test_a_killed_collection_goes_on(tmp_path: Path, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = write_recordings(tmp_path)
    read = read_manifest(manifest, front_end, 0.0)
    monkeypatch.setattr(collecting, "PART", 8)
    collect(read, tmp_path / "whole", processes=2)
    calls, real = [], collecting.timed

    def dies_at_the_twentieth(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(collecting, "timed", dies_at_the_twentieth)
    with pytest.raises(KeyboardInterrupt):
        collect(read, tmp_path / "raw", processes=1)
    assert len(list((tmp_path / "raw" / "parts").iterdir())) == 2
    collect(read, tmp_path / "raw", processes=1)
    assert len(calls) == 20 + len(read.recordings) - 16, "whole parts are not done again"
    for name in ("anna.pcm", "anna.jsonl", "ben.pcm", "ben.jsonl", "report.json"):
        assert (tmp_path / "raw" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_too_few_to_train_on_is_an_error(tmp_path: Path, front_end: FrontEnd) -> None:
    manifest, _ = write_recordings(tmp_path)
    lines = manifest.read_text().splitlines()[:3]
    manifest.write_text("\n".join(lines) + "\n")
    collect(read_manifest(manifest, front_end, 0.0), tmp_path / "raw", processes=1)
    prepare(tmp_path / "raw", tmp_path / "speech", "anna")
    with pytest.raises(TooFewError, match="voice 'anna' has 3 recordings that can be used, too few: at least 4"):
        refuse_few(tmp_path / "speech", "anna")


def test_disturbed_pairs_are_the_same_moment_in_noise() -> None:
    from models.train_codec import Speech

    pairs = Speech(FIXTURE, ["rms", "slt"], [0.5, 0.5], 1, disturbed=True).pairs(3)
    assert pairs is not None
    samples, f0_hz, voice = pairs
    one, two = samples.chunk(2)
    below_db = 10 * np.log10((one.square().mean(1) / (two - one).square().mean(1)).numpy())
    assert ((below_db > 29) & (below_db < 46)).all()
    assert len(samples) == len(f0_hz) == len(voice) == 6
    assert (f0_hz[:3] == f0_hz[3:]).all()
    assert (voice[:3] == voice[3:]).all()
