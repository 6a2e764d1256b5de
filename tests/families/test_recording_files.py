"""What a recording's file says of its length, where FFmpeg can only guess it."""

from __future__ import annotations

import numpy as np
import pytest

from engines.errors import BadParameter
from engines.families.common.recording_files import decoded
from tests.qwen3_tts.recordings import encoded, tone

RATE_HZ = 24_000
SILENCE_FIRST = np.concatenate([np.zeros(2 * RATE_HZ, np.float32), tone(6.0, 0.3, RATE_HZ)])


@pytest.mark.parametrize(("form", "codec"), [("adts", "aac"), ("mp3", "libmp3lame"), ("flac", "flac")])
def test_a_quiet_beginning_is_not_taken_for_a_lost_end(form: str, codec: str) -> None:
    samples, rate_hz = decoded(encoded(SILENCE_FIRST, form, codec, RATE_HZ))
    assert rate_hz == RATE_HZ
    assert len(samples) / rate_hz == pytest.approx(8.0, abs=0.2)


def test_a_lost_end_is_found_where_the_length_is_written() -> None:
    whole = encoded(SILENCE_FIRST, "flac", "flac", RATE_HZ)
    with pytest.raises(BadParameter, match=r"broken off|cannot be read"):
        decoded(whole[: len(whole) * 2 // 3])
