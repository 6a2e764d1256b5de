"""Voice states: what pocket-tts keeps of a voice, the attention cache after the voice has been prefilled.

`pocket-tts export-voice` writes the same files for a voice of one's own. A state belongs to the weights it was made
with; shapes are all that can be checked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import Config
from models.checkpoints.safetensors import Tensors

LONGEST = 512  # positions: 40 s of voice
ATTRIBUTION = "CC-BY-4.0"
# By the folder of the voices' repository that each comes from, as that repository's card says.
_LICENCES = {
    "voice donations": ("CC0-1.0", ("marius", "javert")),
    "Alba MacKenna": (ATTRIBUTION, ("alba",)),
    "EARS": ("CC-BY-NC-4.0", ("jean",)),
    "Expresso": ("CC-BY-NC-4.0", ("cosette",)),
    "VCTK": (
        ATTRIBUTION,
        """anna vera fantine charles paul eponine azelma george mary jane michael eve""".split(),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    name: str
    licence: str
    source: str
    keys: NDArray[np.float32]  # [layers, kv_heads, T, head_dim], rotated
    values: NDArray[np.float32]

    @property
    def positions(self) -> int:
        return self.keys.shape[2]


def licence_of(name: str) -> tuple[str, str]:
    """-> licence and source of a voice that pocket-tts offers; raises CheckpointError for one that is not known."""
    for source, (licence, voices) in _LICENCES.items():
        if name in voices:
            return licence, source
    known = sorted(voice for _, voices in _LICENCES.values() for voice in voices)
    raise CheckpointError(f"the licence of voice {name!r} is not known here ({', '.join(known)} are): name it yourself")


def read_voice(path: Path, config: Config, name: str, licence: str, source: str) -> Voice:
    tensors, backbone = Tensors.of_file(path), config.flow_lm.transformer
    layers = [f"transformer.layers.{layer}.self_attn" for layer in range(backbone.num_layers)]
    missing = [layer for layer in layers if f"{layer}/cache" not in tensors]
    if missing:
        raise CheckpointError(f"{path} lacks {missing[0]}/cache: it is no voice state of this model")
    extra = {found.split("/")[0] for found in tensors.names()} - set(layers)
    if extra:
        raise CheckpointError(f"{path} has {min(extra)}, which this model lacks: it is another model's voice state")
    caches = []
    for layer in layers:
        held, shape = _held(tensors, layer), tensors.shape(f"{layer}/cache")
        wanted = (2, 1, shape[2] if len(shape) == 5 else 0, backbone.kv_heads, backbone.head_dim)
        if shape != wanted or not 1 <= held <= wanted[2]:
            right = [2, 1, "T", *wanted[3:]]
            raise CheckpointError(f"{path}: {layer} holds {held} positions in {list(shape)}, this model's are {right}")
        caches.append(tensors.read(f"{layer}/cache").numpy()[:, 0, :held])
    lengths = {cache.shape[1] for cache in caches}
    if len(lengths) > 1 or max(lengths) > LONGEST:
        raise CheckpointError(f"{path}: layers hold {sorted(lengths)} positions; one number up to {LONGEST} is right")
    cache = np.stack(caches, 1)  # [2, layers, T, kv_heads, head_dim]
    if not np.isfinite(cache).all():
        raise CheckpointError(f"{path} holds a value that is not finite: the file is broken")
    keys, values = np.ascontiguousarray(cache.transpose(0, 1, 3, 2, 4))
    return Voice(name=name, licence=licence, source=source, keys=keys, values=values)


def _held(tensors: Tensors, layer: str) -> int:
    """Positions of a layer's cache that are the voice. Older files tell it by the shape of an empty tensor."""
    if f"{layer}/current_end" in tensors:
        return tensors.shape(f"{layer}/current_end")[0]
    if f"{layer}/offset" not in tensors:
        raise CheckpointError(f"a voice state lacks {layer}/offset, which counts its positions")
    return int(tensors.read(f"{layer}/offset").reshape(-1)[0])
