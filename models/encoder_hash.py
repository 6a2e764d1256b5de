"""What a code means is fixed by the encoder and the quantiser; this names them.

A speech model and a vocoder fit together when both learned from codes of the same encoder, whatever happened to the
decoder since.
"""

from __future__ import annotations

import hashlib

import numpy as np

from models.codec import LEVELS, Codec


def encoder_sha256(codec: Codec) -> str:
    """sha256 over the quantiser's levels and, sorted by name, each float tensor of the encoder: name, shape, values.

    Numbers are little-endian float32, shapes in decimal. Running statistics count, since codes depend on them; how
    many batches they saw does not. Each voice's pitch statistics are left out, so adding a voice keeps the name.
    """
    digest = hashlib.sha256(np.array(LEVELS, "<f4").tobytes())
    for name, value in sorted(codec.encoder.state_dict().items()):
        if value.is_floating_point():
            digest.update(f"{name} {'x'.join(map(str, value.shape))}\n".encode())
            digest.update(value.detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
