"""pocket-tts' own model, built of a configuration of ours and a checkpoint, without the network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from models.checkpoints.pocket.config import Config


class _NoTokenizer:
    """Stands in for the package's, which is read from a path of its own."""


def build(config: Config, folder: Path | None) -> Any:
    """The package's TTSModel, with the weights of the folder where one is given."""
    from pocket_tts.models import tts_model
    from pocket_tts.modules import text_conditioner
    from pocket_tts.utils.config import Config as Theirs

    logging.getLogger("pocket_tts").setLevel(logging.ERROR)
    content = msgspec.to_builtins(config) | {"weights_path": None, "weights_path_without_voice_cloning": None}
    if folder is not None:
        content["weights_path"] = str(folder / "model.safetensors")
    kept = text_conditioner.build_tokenizer
    text_conditioner.build_tokenizer = lambda *asked: _NoTokenizer()
    try:
        return tts_model.TTSModel._from_pydantic_config_with_weights(Theirs(**content), 0.3, 1, None, -4.0, None)
    finally:
        text_conditioner.build_tokenizer = kept
