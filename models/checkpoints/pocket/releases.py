"""The English models that pocket-tts 4.0 offers, by name: what its configuration files say, as far as models differ.

The weights' repository holds no configuration, so an export by name takes it from here. A test compares each with the
package's own file. Any other model is exported with that file given.
"""

from __future__ import annotations

from typing import Any

from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import Config, config_from

REPOSITORY = "kyutai/pocket-tts-without-voice-cloning"
_APOSTROPHES = {"’": "'", "‘": "'"}
_DASHES = {"–": ",", "—": ","}


def _seanet(width: int, filters: int, kernel: int) -> dict[str, Any]:
    sizes = {"kernel_size": kernel, "residual_kernel_size": 3, "last_kernel_size": 3, "dilation_base": 2}
    shape = {"dimension": width, "channels": 1, "n_filters": filters, "n_residual_layers": 1, "ratios": [6, 5, 4]}
    return shape | sizes | {"pad_mode": "constant", "compress": 2}


def _layers(width: int, heads: int, count: int, context: int, hidden: int) -> dict[str, Any]:
    shape = {"d_model": width, "num_heads": heads, "num_layers": count, "dim_feedforward": hidden}
    return shape | {"layer_scale": 0.01, "context": context, "input_dimension": width, "output_dimensions": [width]}


def _codec(width: int, **decoder: Any) -> dict[str, Any]:
    rates = {"dtype": "float32", "sample_rate": 24_000, "channels": 1, "frame_rate": 12.5}
    dims = {"inner_dim": 32, "outer_dim": width, "quantizer": {"dimension": 32, "output_dimension": width}}
    return rates | dims | {"seanet": _seanet(512, 64, 7), "transformer": _layers(512, 8, 2, 250, 2048)} | decoder


def _small(filters: int, layers: int) -> dict[str, Any]:
    return _codec(128, decoder_seanet=_seanet(128, filters, 3), decoder_transformer=_layers(128, 4, layers, 50, 384))


def _model(tokenizer: str, flow: dict[str, Any], backbone: dict[str, Any], **others: Any) -> dict[str, Any]:
    kind, folder = ("tokenizers", f"{tokenizer}/tokenizer.json")
    if "m_" in tokenizer:
        kind, folder = "sentencepiece", f"{tokenizer}/tokenizer.model"
    table = {"dim": backbone["d_model"], "n_bins": 4000, "tokenizer": kind, "tokenizer_path": f"languages/{folder}"}
    rank, z_dim = others.pop("rank", None), others.pop("z_dim", None)
    lm = {"dtype": "float32", "flow": flow, "transformer": backbone | {"max_period": 10_000}, "z_dim": z_dim}
    return {"flow_lm": lm | {"lookup_table": table | {"rank": rank}, "insert_bos_before_voice": True}} | others


def _large(name: str, layers: int) -> dict[str, Any]:
    backbone = {"d_model": 1024, "hidden_scale": 4, "num_heads": 16, "num_layers": layers}
    return _model(name, {"dim": 512, "depth": 6}, backbone, mimi=_codec(512), replace_characters=_APOSTROPHES)


def _reduced(name: str, flow: dict[str, Any], backbone: dict[str, Any], **others: Any) -> dict[str, Any]:
    others |= {"z_dim": 64, "replace_characters": _DASHES | _APOSTROPHES, "default_eos_threshold": -1.0}
    return _model(name, flow | {"depth": 4}, backbone | {"hidden_scale": 1, "num_layers": 8}, **others)


_2M = {"d_model": 112, "num_heads": 3, "dim_feedforward": 96, "attn_dim": 192, "num_kv_heads": 1}
_7M = {"d_model": 224, "num_heads": 8, "attn_dim": 512, "num_kv_heads": 2}
_18M = {"d_model": 512, "num_heads": 8}
_RELEASES: dict[str, dict[str, Any]] = {
    "english": _large("english", 6),
    "english_2026-09_24l": _large("english_2026-09_24l", 24),
}
for _refined in ("", "_refl"):
    _name = f"english_2m{_refined}_2026-10"
    _RELEASES[_name] = _reduced(_name, {"dim": 64, "type": "pointwise"}, _2M, rank=32, mimi=_small(24, 4))
    _name = f"english_7m{_refined}_2026-10"
    _RELEASES[_name] = _reduced(_name, {"dim": 192, "type": "drifting"}, _7M, rank=64, mimi=_small(32, 12))
    _name = f"english_18m{_refined}_2026-10"
    _RELEASES[_name] = _reduced(_name, {"dim": 192, "type": "drifting"}, _18M, mimi=_small(32, 12))


def names() -> list[str]:
    return list(_RELEASES)


def release(name: str) -> Config:
    if name not in _RELEASES:
        known = ", ".join(_RELEASES)
        raise CheckpointError(f"no model {name!r} is known: {known}; for another, give its configuration file")
    return config_from(_RELEASES[name], name)
