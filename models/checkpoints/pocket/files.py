"""Where a pocket-tts model lies, in the layout of its repository:

    languages/NAME/model.safetensors
    languages/NAME/tokenizer.json or tokenizer.model
    languages/NAME/embeddings/VOICE.safetensors

A source is that folder, the folder above `languages`, or `hf://OWNER/REPOSITORY[@REVISION]`, from which the files of
one model and the wanted voices are downloaded, because the user says so. The configuration may name another tokenizer
(`tokenizer_path`), which is looked for below the same source.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tokenizers import Tokenizer

from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket import releases
from models.checkpoints.pocket.config import Config, LookupTable, read_config
from models.checkpoints.pocket.tokens import read_tokenizer
from models.checkpoints.pocket.voices import Voice, licence_of, read_voice
from models.checkpoints.pocket.weights import Weights, read_weights
from models.checkpoints.safetensors import SINGLE

DEFAULT_MODEL = "english"
CONFIG = "config.yaml"
_HUB = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")
_TOKENIZER = re.compile(r"hf://[\w.-]+/[\w.-]+/(?P<path>[^@]+)(?:@.*)?")
_SUFFIXES = {"sentencepiece": "model", "tokenizers": "json"}
Fetch = Callable[[str], Path]  # a path below the repository -> the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    name: str
    source: str
    config: Config
    weights: Weights
    tokenizer: Tokenizer
    voices: tuple[Voice, ...]


def has_layout(source: str) -> bool:
    """Whether a source is of this layout, as far as its name or its files' names tell. Only others have a config.json;
    a folder without `embeddings` is one whose voices are given as files."""
    if source.startswith("hf://"):
        return "/pocket-tts" in source
    root = Path(source).expanduser()
    if (root / "languages").is_dir() or (root / "embeddings").is_dir() or (root / CONFIG).is_file():
        return True
    tokenizer = any((root / f"tokenizer.{suffix}").is_file() for suffix in _SUFFIXES.values())
    return tokenizer and (root / SINGLE).is_file() and not (root / "config.json").exists()


def configuration(source: str, model: str = DEFAULT_MODEL, given: Path | None = None) -> Config:
    """Nothing but a small file is fetched for it."""
    if given is not None:
        return read_config(given)
    fetch, folder = _below(source, model)
    try:
        path = fetch(f"{folder}{CONFIG}")
    except CheckpointError:
        return releases.release(model)
    return read_config(path)


def read(
    source: str,
    voices: list[str],
    model: str = DEFAULT_MODEL,
    config: Path | None = None,
    voice_licence: str | None = None,
    *,
    hears: bool = False,
) -> Checkpoint:
    """With `hears` the voice encoder is read as well, and voices may be none.

    `voices` are names of the model's own ones, or files that `pocket-tts export-voice` wrote. Weights come
    last: what is wrong with the rest is told before they are fetched."""
    if not voices and not hears:
        raise CheckpointError("name at least one voice, such as alba, or a file that `pocket-tts export-voice` wrote")
    licences = [_licence(voice, voice_licence) for voice in voices]  # before anything is downloaded
    fetch, folder = _below(source, model)
    found = configuration(source, model, config)
    read_voices = []
    for voice, (licence, origin) in zip(voices, licences, strict=True):
        path = Path(voice) if is_voice_state(voice) else fetch(f"{folder}embeddings/{voice}.safetensors")
        read_voices.append(read_voice(path, found, Path(voice).stem, licence, origin))
    table = found.flow_lm.lookup_table
    tokenizer = read_tokenizer(_tokenizer(fetch, folder, table), table.n_bins)
    weights = read_weights(fetch(f"{folder}{SINGLE}").parent, found, hears=hears)
    return Checkpoint(
        name=model, source=source, config=found, weights=weights, tokenizer=tokenizer, voices=tuple(read_voices)
    )


def is_voice_state(voice: str) -> bool:
    return voice.lower().endswith(".safetensors")


def _tokenizer(fetch: Fetch, folder: str, table: LookupTable) -> Path:
    """The file that the configuration names, below this source whatever repository it names; else the model's own."""
    named = table.tokenizer_path
    if Path(named).is_absolute():
        if not Path(named).is_file():
            raise CheckpointError(f"tokenizer_path of the configuration names {named}, which is no file")
        return Path(named)
    if match := _TOKENIZER.fullmatch(named):
        named = match["path"]
    own = f"tokenizer.{_SUFFIXES[table.tokenizer]}"
    # A folder of one model alone has no `languages`: there the file's name counts.
    places = dict.fromkeys((named, f"{folder}{PurePosixPath(named).name}", f"{folder}{own}"))
    problems: list[CheckpointError] = []
    for place in places:
        try:
            return fetch(place)
        except CheckpointError as error:
            problems.append(error)
    raise problems[-1]


def _licence(voice: str, given: str | None) -> tuple[str, str]:
    if not is_voice_state(voice):
        try:
            return licence_of(voice)
        except CheckpointError:
            if not given:
                raise
    if not given:
        raise CheckpointError(f"{voice} is a voice of your own: say its licence (--voice-licence)")
    if is_voice_state(voice) and not Path(voice).is_file():
        raise CheckpointError(f"there is no file {voice}")
    return given, "as given at export"


def _below(source: str, model: str) -> tuple[Fetch, str]:
    return _below_hub(source, model) if source.startswith("hf://") else _below_folder(source, model)


def _below_folder(source: str, model: str) -> tuple[Fetch, str]:
    root = Path(source).expanduser()
    if not root.is_dir():
        raise CheckpointError(f"{source} is no folder; a folder or hf://OWNER/REPOSITORY is right")
    folder = f"languages/{model}/" if (root / "languages").is_dir() else ""

    def fetch(path: str) -> Path:
        if not (root / path).is_file():
            here = sorted(one.name for one in (root / path).parent.glob("*")) if (root / path).parent.is_dir() else []
            raise CheckpointError(f"{source} lacks {path}" + (f" (there are {', '.join(here[:8])})" if here else ""))
        return root / path

    return fetch, folder


def _below_hub(source: str, model: str) -> tuple[Fetch, str]:
    match = _HUB.fullmatch(source)
    if match is None:
        raise CheckpointError(
            f"{source} is no repository; hf://OWNER/REPOSITORY or hf://OWNER/REPOSITORY@REVISION is right"
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError
    except ImportError as error:
        raise CheckpointError(f"{source} needs huggingface_hub: in the checkout, pip install '.[export]'") from error

    def fetch(path: str) -> Path:
        try:
            return Path(hf_hub_download(match["repository"], path, revision=match["revision"]))
        except GatedRepoError as error:
            raise CheckpointError(
                f"{source} is gated: accept its terms on its page and log in (`hf auth login`), or take "
                f"hf://{releases.REPOSITORY}, which speaks its own voices and is open"
            ) from error
        except EntryNotFoundError as error:
            raise CheckpointError(f"{source} lacks {path}") from error
        except Exception as error:  # the network's, the disk's and the hub's errors have no common type
            raise CheckpointError(f"{path} of {source} could not be downloaded: {error}") from error

    return fetch, f"languages/{model}/"
