"""The ear of `make bench-formats`: it hears what is broken at a border, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.formats import listening, page
from loadtests.formats.asking import FORMS, Form, utterances
from loadtests.formats.seams import judged

RATE_HZ = 24_000
PCM = Form(codec="pcm", rate_hz=RATE_HZ)


def voiced(seconds: float = 1.0) -> bytes:
    t = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    turns = 110 * t * (1 + 0.1 * t)
    return np.rint(5_000 * sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 9))).astype("<i2").tobytes()


def test_what_is_whole_has_no_seams() -> None:
    pcm = voiced()
    found = judged(listening.of_pcm(pcm), listening.of_pcm(pcm), RATE_HZ, PCM, pcm, "whole")
    assert (found.same, found.clicks, found.of_the_codec, found.damage_heard, found.worst) == (1, 0, 0, 1, [])
    assert found.borders == 24


@pytest.mark.parametrize("lost", [4, 24])
def test_samples_lost_at_a_border_are_heard(lost: int) -> None:
    pcm = voiced()
    broken = listening.of_pcm(pcm)
    broken[9_600 - lost : 9_600] = 0.0
    found = judged(broken, listening.of_pcm(pcm), RATE_HZ, PCM, pcm, "broken")
    assert (found.same, found.clicks, found.of_the_codec) == (0, 1, 0)
    assert found.worst == ["broken: not as in one piece, 1 clicks"]


def test_a_jump_is_heard_without_a_reference() -> None:
    whole = listening.of_pcm(voiced())
    broken = whole.copy()
    broken[9_600:] = np.roll(broken[9_600:], -60)
    assert listening.bends(broken, [4_800, 9_600, 14_400], RATE_HZ) == [9_600]
    assert listening.bends(whole, [4_800, 9_600, 14_400], RATE_HZ) == []


def test_a_codecs_noise_and_delay_are_no_clicks_and_a_lost_end_is_told() -> None:
    pcm = voiced()
    noise = np.random.default_rng(1).normal(0, 60, len(pcm) // 2)
    late = np.concatenate([np.zeros(1_105), listening.of_pcm(pcm) + noise])
    form = Form(codec="mp3", rate_hz=RATE_HZ)
    found = judged(late, late, RATE_HZ, form, pcm, "noisy")
    assert (found.clicks, found.damage_heard, found.worst) == (0, 1, [])
    assert judged(late[:-4_800], late, RATE_HZ, form, pcm, "cut").worst == ["cut: short, not as in one piece, 0 clicks"]


def test_every_format_is_asked_for_and_fifty_utterances_differ() -> None:
    assert len(FORMS) == len(set(FORMS)) == 8 * 7 + 2 * 4
    drawn = utterances(["a", "b", "c", "d"], 50)
    assert len({(one.text, one.voice) for one in drawn}) == 50


def test_the_page_names_what_was_found() -> None:
    spread = {"median": 0.01, "least": 0.009, "greatest": 0.02}
    row = {"utterances": 2, "same": 2, "borders": 9, "clicks": 0, "of_the_codec": 1, "damage_heard": 2, "worst": []}
    origin = {"date": "2026-01-01", "machine": "a machine", "commit": "abc", "command": "make bench-formats"}
    written = page.text(
        {
            "seams": {
                **origin,
                "utterances": 2,
                "seconds_of_speech": 3.0,
                "ways_equal": {"nari.speech.v1": 2},
                "native_pcm": {"borders": 7, "bends_at_borders": 0, "places_between": 7, "bends_between": 1},
                "formats": {"pcm 24000": row},
            },
            "cost": {
                **origin,
                "listeners": 8,
                "rounds": 7,
                "utterances_a_round": 24,
                "audio_s_a_round": 80.0,
                "formats": {
                    "mp3 24000": {
                        "cpu_s_per_audio_s": spread,
                        "beside_pcm_24000": spread,
                        "more_ms_per_audio_s": 1.5,
                    }
                },
            },
        }
    )
    assert written.count("2026-01-01, a machine, commit abc, `make bench-formats`.") == 2
    assert "| nari.speech.v1 | 2 of 2 |" in written
    assert "| pcm 24000 | 2 of 2 | 9 | 0 | 1 | 2 of 2 |" in written
    assert "| mp3 24000 | 0.0100 (0.0090 to 0.0200) | 0.01 (0.01 to 0.02) | 1.5 |" in written
