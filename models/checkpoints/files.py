"""Where a checkpoint comes from: a folder, or `hf://OWNER/NAME@REVISION`, which is downloaded because the user says so.

Also reads its JSON files strictly: an unknown field may change what the network computes, so it is
refused by name. What the libraries that wrote the file add on their own is dropped first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from models.checkpoints.errors import CheckpointError

_HUB = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
Fields = TypeVar("Fields")

# Written into every config by the library that saved it; none of them shapes a network that only speaks.
LIBRARY_FIELDS = frozenset(
    """_name_or_path _attn_implementation_autoset architectures attn_implementation auto_map dtype torch_dtype
    transformers_version use_cache return_dict return_dict_in_generate output_attentions output_hidden_states
    output_scores add_cross_attention bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward
    cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample early_stopping
    encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id
    forced_eos_token_id id2label is_decoder is_encoder_decoder label2id length_penalty max_length min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences pad_token_id prefix problem_type pruned_heads
    remove_invalid_values repetition_penalty sep_token_id suppress_tokens task_specific_params temperature
    tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torchscript typical_p use_bfloat16
    attention_dropout initializer_range""".split()
)


CONFIGS = ("*.json", "*.txt")  # below folders too: what a checkpoint is checked by before its weights are fetched
WHOLE = (*CONFIGS, "*.safetensors")


def name_of(source: str) -> str:
    """Of the model: the repository's, or the folder's own where the source is `.` or ends in `..`."""
    match = _HUB.fullmatch(source)
    name = match["name"].rpartition("/")[2] if match else Path(source).expanduser().resolve().name
    if not name:
        raise CheckpointError(f"{source} gives the model no name: give it one (--name)")
    return name


def located(source: str, wanted: tuple[str, ...] = WHOLE, cache: Path | None = None) -> Path:
    """The folder of a checkpoint; downloads what is `wanted` of one on the hub (resumed where it broke off)."""
    if not source.startswith("hf://"):
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise CheckpointError(f"{source} is no folder; right is a folder or hf://OWNER/NAME@REVISION")
        return folder
    match = _HUB.fullmatch(source)
    if match is None:
        raise CheckpointError(f"{source} is no checkpoint's name; right is hf://OWNER/NAME@REVISION")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(f"{source} needs huggingface_hub: in the checkout, pip install '.[export]'") from error
    try:
        found = snapshot_download(match["name"], revision=match["revision"], allow_patterns=[*wanted], cache_dir=cache)
    except Exception as error:  # the hub's, the network's and the disk's errors have no common type
        raise CheckpointError(f"{source} could not be downloaded: {error}") from error
    return Path(found)


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} lacks {path.name}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, right is an object")
    return content


def strict(content: dict[str, Any], kind: type[Fields], file: str, kept: frozenset[str] = frozenset()) -> Fields:
    """The fields as `kind` (a msgspec.Struct that forbids unknown ones), without what libraries add on their own."""
    try:
        return msgspec.convert(_own(content, kept), kind)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        problem, place = (match["problem"], match["path"] or "") if match else (str(error), "")
        raise CheckpointError(f"{file}{place}: {problem}") from error


def _own(content: dict[str, Any], kept: frozenset[str]) -> dict[str, Any]:
    return {
        name: _own(value, kept) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in LIBRARY_FIELDS - kept
    }
