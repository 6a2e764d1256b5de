"""The configuration that pocket-tts ships for each of its models (a YAML file), read strictly.

Every field is known and typed; what the exporter does not build is refused here, with the value and what would be
right. Sizes that follow from others are properties.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from models.checkpoints.errors import CheckpointError

Positive = Annotated[int, Meta(ge=1)]
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Flow(_Section, frozen=True, kw_only=True):
    """The head that makes a frame of noise, in one step."""

    dim: Positive
    depth: Positive
    type: str = "lsd"

    def __post_init__(self) -> None:
        if self.type not in ("lsd", "drifting", "pointwise"):
            raise ValueError(f"type {self.type!r} is not built: lsd, drifting and pointwise make a frame in one step")


class Backbone(_Section, frozen=True, kw_only=True):
    hidden_scale: Positive
    max_period: Positive
    d_model: Positive
    num_heads: Positive
    num_layers: Positive
    attn_dim: Positive | None = None
    num_kv_heads: Positive | None = None
    dim_feedforward: Positive | None = None

    def __post_init__(self) -> None:
        if self.attention % self.num_heads:
            raise ValueError(f"attn_dim {self.attention} is not a multiple of num_heads {self.num_heads}")
        if self.num_heads % self.kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"heads of {self.head_dim} values cannot be rotated in pairs")

    @property
    def attention(self) -> int:
        return self.attn_dim or self.d_model

    @property
    def kv_heads(self) -> int:
        return self.num_kv_heads or self.num_heads

    @property
    def head_dim(self) -> int:
        return self.attention // self.num_heads

    @property
    def feed_forward(self) -> int:
        return self.dim_feedforward or self.d_model * self.hidden_scale


class LookupTable(_Section, frozen=True, kw_only=True):
    dim: Positive
    n_bins: Positive
    tokenizer: Literal["sentencepiece", "tokenizers"]
    tokenizer_path: str
    rank: Positive | None = None


class FlowLm(_Section, frozen=True, kw_only=True):
    dtype: Literal["float32"]
    flow: Flow
    transformer: Backbone
    lookup_table: LookupTable
    z_dim: Positive | None = None
    weights_path: str | None = None
    insert_bos_before_voice: bool = False

    def __post_init__(self) -> None:
        if self.lookup_table.dim != self.transformer.d_model:
            raise ValueError(f"lookup_table.dim {self.lookup_table.dim} is not d_model {self.transformer.d_model}")


class Seanet(_Section, frozen=True, kw_only=True):
    dimension: Positive
    channels: Literal[1]
    n_filters: Positive
    n_residual_layers: Literal[1]
    ratios: tuple[Positive, ...]
    kernel_size: Positive
    residual_kernel_size: Positive
    last_kernel_size: Positive
    dilation_base: Positive
    pad_mode: Literal["constant"]
    compress: Positive

    @property
    def hop(self) -> int:
        return math.prod(self.ratios)

    @property
    def widest(self) -> int:
        return self.n_filters << len(self.ratios)


class CodecTransformer(_Section, frozen=True, kw_only=True):
    d_model: Positive
    input_dimension: Positive
    output_dimensions: tuple[Positive]
    num_heads: Positive
    num_layers: Positive
    layer_scale: float
    context: Positive
    dim_feedforward: Positive
    max_period: float = 10_000.0

    def __post_init__(self) -> None:
        if not self.d_model == self.input_dimension == self.output_dimensions[0]:
            wanted = f"d_model {self.d_model}, input_dimension {self.input_dimension}"
            raise ValueError(f"{wanted} and output_dimensions {list(self.output_dimensions)} must be the same width")
        if self.d_model % (2 * self.num_heads):
            raise ValueError(f"d_model {self.d_model} does not make {self.num_heads} heads of an even width")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.num_heads


class Quantizer(_Section, frozen=True, kw_only=True):
    dimension: Positive
    output_dimension: Positive


class Codec(_Section, frozen=True, kw_only=True):
    """The `mimi` part: an encoder of voice samples, and the decoder of frames."""

    dtype: Literal["float32"]
    sample_rate: Positive
    channels: Literal[1]
    frame_rate: float
    seanet: Seanet
    transformer: CodecTransformer
    quantizer: Quantizer
    weights_path: str | None = None
    inner_dim: Positive | None = None
    outer_dim: Positive | None = None
    decoder_seanet: Seanet | None = None
    decoder_transformer: CodecTransformer | None = None

    def __post_init__(self) -> None:
        if self.sample_rate / self.frame_rate != self.hop or self.hop % self.decoder.hop:
            made = f"sample_rate {self.sample_rate} over frame_rate {self.frame_rate}"
            raise ValueError(f"{made} is not a whole multiple of the decoder's hop of {self.decoder.hop} samples")
        widths = {self.quantizer.output_dimension, self.decoder.dimension, self.decoder_layers.d_model}
        if len(widths | {self.outer_dim or self.decoder.dimension}) != 1:
            raise ValueError(
                f"the decoder's parts are {sorted(widths)} wide with outer_dim {self.outer_dim}; one is right"
            )

    @property
    def decoder(self) -> Seanet:
        return self.decoder_seanet or self.seanet

    @property
    def decoder_layers(self) -> CodecTransformer:
        return self.decoder_transformer or self.transformer

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return round(self.sample_rate / self.frame_rate)

    @property
    def upsampling(self) -> int:
        """Steps of the decoder's transformer for each frame."""
        return self.hop // self.decoder.hop


class Config(_Section, frozen=True, kw_only=True):
    flow_lm: FlowLm
    mimi: Codec
    weights_path: str | None = None
    weights_path_without_voice_cloning: str | None = None
    pad_with_spaces_for_short_inputs: bool = False
    remove_semicolons: bool = False
    append_terminal_punctuation: bool = True
    capitalize_first_letter: bool = True
    replace_characters: dict[str, str] = msgspec.field(default_factory=dict)
    model_recommended_frames_after_eos: Positive | None = None
    default_temperature: Annotated[float, Meta(ge=0, le=2)] = 0.3
    default_eos_threshold: float = -4.0

    def __post_init__(self) -> None:
        for found in self.replace_characters:
            if len(found) != 1:
                raise ValueError(f"replace_characters maps one character to a string, got {found!r}")
        if self.pad_with_spaces_for_short_inputs:
            raise ValueError("pad_with_spaces_for_short_inputs is not built: how a text begins would depend on its end")

    @property
    def frame_width(self) -> int:
        return self.mimi.quantizer.dimension


def read_config(path: Path) -> Config:
    """Raises CheckpointError, which names the field, what was found and what would be right."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(f"no configuration at {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    return config_from(content, str(path))


def config_from(content: Any, origin: str) -> Config:
    try:
        return msgspec.convert(content, Config)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        assert match is not None, "the pattern takes any text"
        path = (match["path"] or "").lstrip(".")
        found = _found(content, path)
        raise CheckpointError(f"{origin}: {f'{path}: ' if path else ''}{match['problem']}{found}") from error


def _found(content: Any, path: str) -> str:
    for step in path.split(".") if path else []:
        content = content.get(step) if isinstance(content, dict) else None
    return "" if content is None or isinstance(content, dict | list) else f" ({content!r})"
