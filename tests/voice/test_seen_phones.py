"""What the decoder sees of the text is what the speech model sees, wherever in an utterance a crop begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.codec import FRAMES_PER_CODE, SAMPLES_PER_CODE, Codec
from models.lm_data import collate, example
from models.seen_phones import SEEN_COLUMNS, SEEN_ROWS, phone_times
from models.speech_lm import LmConfig, SpeechLm, feature_rows, input_table
from models.teacher.prepare import load
from models.train_codec import start_from

FIXTURE = Path(__file__).parent / "fixture"
UTTERANCES = load(FIXTURE, "rms")[0][:6]


def test_rows_are_those_of_the_speech_models_table() -> None:
    from engines.text import NUM_PHONE_IDS

    _, offsets = input_table(SpeechLm(LmConfig(voices=1, num_phone_ids=NUM_PHONE_IDS, layers=1)))
    assert offsets["following"] - offsets["phones"] == SEEN_ROWS
    for one in UTTERANCES:
        codes = one.samples // SAMPLES_PER_CODE
        inputs, _ = collate([example(one, np.zeros(codes, int), 0)])
        expected = feature_rows(inputs, offsets, NUM_PHONE_IDS)[0, :, 1 : 1 + SEEN_COLUMNS] - offsets["phones"]
        np.testing.assert_array_equal(phone_times(one).seen(0, codes), expected)


def test_a_crop_sees_what_the_whole_utterance_sees_there() -> None:
    for one in UTTERANCES:
        whole = phone_times(one).seen(0, one.samples // SAMPLES_PER_CODE)
        for first in (1, 5, len(whole) - 1):
            crop = phone_times(one).seen(first * FRAMES_PER_CODE, len(whole) - first)
            np.testing.assert_array_equal(crop, whole[first:])


def test_a_decoder_that_begins_to_see_speaks_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before, after = Codec(1).eval(), Codec(1, SEEN_ROWS).eval()
    torch.save({"network": before.state_dict()}, tmp_path / "codec.pt")
    start_from(after, tmp_path / "codec.pt")
    values, voice = torch.rand(1, 9, 4), torch.tensor([0])
    seen = torch.randint(SEEN_ROWS, (1, 9, SEEN_COLUMNS))
    with torch.no_grad():
        expected = before.decoder.parameters_of_speech(values, voice)
        found = after.decoder.parameters_of_speech(values, voice, seen)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours, theirs)
        after.decoder.seen.weight.normal_(0, 0.1)  # type: ignore[union-attr]
        changed = after.decoder.parameters_of_speech(values, voice, seen)
    assert not torch.equal(changed[2], expected[2])
