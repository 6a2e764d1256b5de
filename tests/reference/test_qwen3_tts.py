"""Random checkpoints in the published layout: our networks compute what `qwen-tts` computes from the same files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.checkpoints.qwen3_tts.reader import Checkpoint


@torch.no_grad()
def test_talker_logits(checkpoint: Checkpoint, theirs: Any) -> None:
    width = checkpoint.config.talker_config.hidden_size
    x = torch.randn(2, 13, width, generator=torch.Generator().manual_seed(3))
    hidden, logits, past = checkpoint.talker()(x[:, :9])
    later = checkpoint.talker()(x[:, 9:], past)
    expected = theirs.talker.model(inputs_embeds=x, attention_mask=torch.ones(2, 13, dtype=torch.long))
    expected_logits = theirs.talker.codec_head(expected.last_hidden_state)
    torch.testing.assert_close(torch.cat([hidden, later[0]], 1), expected.last_hidden_state, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cat([logits, later[1]], 1), expected_logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_greedy_predictor_codes(checkpoint: Checkpoint, theirs: Any) -> None:
    config, talker = checkpoint.config.talker_config, checkpoint.talker()
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(5, config.hidden_size, generator=generator)
    first = talker.model.codec_embedding(torch.randint(0, config.codes, (5,), generator=generator))
    expected = theirs.talker.code_predictor.generate(
        inputs_embeds=torch.stack([hidden, first], 1), max_new_tokens=config.num_code_groups - 1, do_sample=False
    )
    assert torch.equal(talker.code_predictor.greedy(hidden, first), expected)


@torch.no_grad()
def test_mel_filters_and_speaker_embedding(checkpoint: Checkpoint, theirs: Any, reference: SimpleNamespace) -> None:
    if not checkpoint.clones:
        pytest.skip("only a base checkpoint has a speaker encoder")
    encoder = checkpoint.speaker_encoder()
    samples = torch.sin(torch.arange(30001) * torch.linspace(0.01, 1.2, 30001))[None] * 0.5
    bands = checkpoint.config.speaker_encoder_config.mel_dim
    mel = reference.mel(samples, 1024, bands, 24000, 256, 1024, 0, 12000).transpose(1, 2)
    # As energies: the logarithm of next to none shows the rounding of the transform.
    torch.testing.assert_close(encoder.mel(samples).exp(), mel.exp(), atol=1e-6, rtol=2e-3)
    torch.testing.assert_close(encoder(samples), theirs.speaker_encoder(mel), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_vocoder_whole_and_streamed(checkpoint: Checkpoint, their_codec: Any) -> None:
    config, decoder = checkpoint.codec.decoder_config, checkpoint.codec_decoder()
    generator = torch.Generator().manual_seed(5)
    codes = torch.randint(0, config.codebook_size, (1, 2 * config.sliding_window // 3 + 9, config.num_quantizers))
    codes = torch.randint(0, config.codebook_size, codes.shape, generator=generator)
    expected = their_codec.decoder(codes.transpose(1, 2))[:, 0]
    torch.testing.assert_close(decoder(codes)[0], expected, atol=1e-4, rtol=0)
    state, parts, start = None, [], 0
    for count in (1, 1, 3, 2, codes.shape[1] - 7):
        part, state = decoder(codes[:, start : start + count], state)
        parts.append(part)
        start += count
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_codec_encoder_codes(checkpoint: Checkpoint, their_codec: Any) -> None:
    samples = torch.randn(1, 47_000, generator=torch.Generator().manual_seed(6)) * 0.3
    expected = their_codec.encode(samples, torch.ones_like(samples, dtype=torch.long)).audio_codes[0]
    found = checkpoint.codec_encoder()(samples, checkpoint.codec.encoder_valid_num_quantizers)[0]
    assert torch.equal(found, expected)
