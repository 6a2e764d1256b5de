"""The tokenizer of a pocket-tts model as one `tokenizer.json`, whichever of the two files it came with.

A SentencePiece file is rewritten for the `tokenizers` library, the only one that serving needs. Either is checked on
English lines: rewritten ids must be the original's, and words encoded one by one must be the line encoded whole, since
a server is given text word by word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from models.checkpoints.errors import CheckpointError

CHECKED = """\
The quick brown fox jumps over the lazy dog.
Don't worry, it's only 3.5 miles; we'll be there by 10:45, won't we?
Mrs. O'Neil paid $1,250.99 (in cash!) for two first-class tickets to Zürich…
"I can't," she said, "but he'd better: there's no other way."
Version 2.0 of user_name@example.com runs on x86-64, AT&T said.
Hmm - well, that's 100% re-elected naïve café talk!""".splitlines()
_SPACE = "▁"


def read_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    """Raises CheckpointError where it is broken, has another vocabulary, or reads words another way than lines."""
    tokenizer = _loaded(path) if path.suffix == ".json" else _rewritten(path)
    if tokenizer.get_vocab_size() != vocabulary:
        found = tokenizer.get_vocab_size()
        raise CheckpointError(f"{path} has {found} tokens, the configuration says n_bins {vocabulary}")
    for line in CHECKED:
        whole = tokenizer.encode(line).ids
        if whole != [one for word in line.split() for one in tokenizer.encode(word).ids]:
            raise CheckpointError(f"{path} reads words one by one otherwise than together, as in {line!r}")
    return tokenizer


def _loaded(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises its base class
        raise CheckpointError(f"{path} is no tokenizer.json: {error}") from error


def _rewritten(path: Path) -> Tokenizer:
    try:
        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
    except ImportError as error:
        raise CheckpointError(f"{path} needs sentencepiece: in the checkout, pip install '.[export]'") from error
    try:
        original = SentencePieceProcessor(str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is no SentencePiece model: {error}") from error
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())  # type: ignore[attr-defined]
    tokenizer = Tokenizer(_pieces(path, model))
    tokenizer.normalizer = normalizers.Sequence(_normalizers(model.normalizer_spec))
    prepended: Any = "always" if model.normalizer_spec.add_dummy_prefix else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepended)
    tokenizer.decoder = decoders.Metaspace(_SPACE, prepended)
    for line in CHECKED:
        if tokenizer.encode(line).ids != original.encode(line):
            raise CheckpointError(f"{path} cannot be rewritten as tokenizer.json: {line!r} is read differently")
    return tokenizer


def _pieces(path: Path, model: Any) -> Any:
    scores = [(piece.piece, piece.score) for piece in model.pieces]
    spec = model.trainer_spec
    if spec.model_type == spec.UNIGRAM:
        return models.Unigram(scores, spec.unk_id, spec.byte_fallback)
    raise CheckpointError(
        f"{path} is a SentencePiece model of type {spec.model_type}, unigram ({spec.UNIGRAM}) is right"
    )


def _normalizers(spec: Any) -> list[Any]:
    steps: list[Any] = [normalizers.Precompiled(spec.precompiled_charsmap)] if spec.precompiled_charsmap else []
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return steps
