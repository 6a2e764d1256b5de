"""Both transformers beside the library's own Qwen3, of any release that has it; the makers' code is not needed."""

from __future__ import annotations

import torch
from transformers import Qwen3Config, Qwen3Model

from models.checkpoints.qwen3_tts.blocks import run_blocks
from models.checkpoints.qwen3_tts.reader import Checkpoint


@torch.no_grad()
def test_both_transformers_are_plain_qwen3(checkpoint: Checkpoint) -> None:
    """The same weights in the library's own Qwen3: multimodal rotation of a text is the ordinary one."""
    talker = checkpoint.talker()
    for network, config, layers in (
        (talker.model, talker.config, talker.model.layers),
        (talker.code_predictor.model, talker.config.code_predictor_config, talker.code_predictor.model.layers),
    ):
        plain = Qwen3Model(
            Qwen3Config(
                vocab_size=1,
                attn_implementation="eager",
                **{
                    name: getattr(config, name)
                    for name in (
                        "hidden_size",
                        "intermediate_size",
                        "num_hidden_layers",
                        "num_attention_heads",
                        "num_key_value_heads",
                        "head_dim",
                        "rms_norm_eps",
                        "rope_theta",
                        "max_position_embeddings",
                    )
                },
            )
        ).eval()
        weights = {name: value for name, value in network.state_dict().items() if name.startswith(("layers.", "norm."))}
        plain.load_state_dict({**weights, "embed_tokens.weight": torch.zeros(1, config.hidden_size)}, strict=True)
        x = torch.randn(2, 11, config.hidden_size, generator=torch.Generator().manual_seed(8))
        found, _ = run_blocks(layers, x, config.head_dim, config.rope_theta, None)
        expected = plain(inputs_embeds=x).last_hidden_state
        torch.testing.assert_close(network.norm(found), expected, atol=1e-4, rtol=1e-4)
