"""Voices cloned from a recording: keys and values of the speech model, as of a voice that the bundle brings.

    samples -> hears: convolutions -> follows: a transformer, in blocks -> voice: a vector each frame, the speech model

Encoding takes seconds: it runs in a process of its own, never in the engine's loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr

from engines.errors import BadParameter, BundleError
from engines.families.common.recordings import check_recording
from engines.families.common.voice_files import Arrays, VoiceFile
from engines.families.pocket.bundle import CLONING_GRAPHS, Bundle, Cloning, SpeechModel
from engines.families.pocket.voices import VoicePrefix
from engines.runtime.base import Array, Backend, FloatArray

BLOCK_FRAMES = 25  # of the transformer: attention over all of a recording would take gigabytes
_PAUSE_S, _FADE_S, _WINDOW_S, _FLOOR_DB = 0.08, 0.02, 0.02, 35.0
_GATED = "export it again with --cloning from hf://kyutai/pocket-tts, once its terms are accepted"


class Graph(Protocol):
    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]: ...


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ClonedVoice:
    keys: FloatArray  # [layers, kv_heads, T, head_dim]
    values: FloatArray
    uses_text = False

    @property
    def arrays(self) -> Arrays:
        return {"keys": self.keys, "values": self.values}


class VoiceEncoder:
    def __init__(self, bundle: Bundle, host: Backend) -> None:
        """Raises BundleError where the bundle cannot clone."""
        if bundle.cloning is None:
            raise BundleError(str(why_no_cloning(bundle)))
        self._bundle, self._cloning = bundle, bundle.cloning
        self._graphs = host.graphs(*(bundle.folder / name for name in CLONING_GRAPHS))

    def encode_voice(self, samples: FloatArray, rate_hz: int, text: str) -> ClonedVoice:
        """samples [S], mono, inside +-1; the text is not used. Raises BadParameter."""
        bundle = self._bundle
        check_recording(samples, rate_hz)
        if rate_hz != bundle.sample_rate_hz:
            samples = soxr.resample(samples, rate_hz, bundle.sample_rate_hz).astype(np.float32)
        samples = ends_on_pause(samples, bundle.sample_rate_hz)
        keys, values = encoded(self._graphs, samples, bundle.hop_length, self._cloning, bundle.lm)
        if (problem := _does_not_fit(keys.shape[2], self._cloning)) is not None:
            raise BadParameter(problem)
        return ClonedVoice(keys=keys, values=values)


def encoded(
    graphs: tuple[Graph, ...], samples: FloatArray, hop: int, cloning: Cloning, lm: SpeechModel
) -> tuple[FloatArray, FloatArray]:
    """samples [S] at the model's rate -> keys and values [layers, kv_heads, T, head_dim] of the cache."""
    hears, follows, voice = graphs
    whole = np.concatenate([samples, np.zeros(-len(samples) % hop, np.float32)])
    steps = hears.run({"samples": whole[None]})["steps"]
    state: dict[str, Array] = {one.name: np.zeros((1, *one.shape), np.float32) for one in cloning.states}
    block, parts = BLOCK_FRAMES * cloning.steps_per_frame, list[Array]()
    for first in range(0, steps.shape[1], block):
        made = follows.run({"steps": steps[:, first : first + block], "position": np.array([first]), **state})
        state = {name: made[f"{name}_out"] for name in state}
        parts.append(made["followed"])
    count = cloning.opening + len(whole) // hop
    slab = np.zeros((1, lm.kv_heads, count, lm.head_dim), np.float32)
    cache: dict[str, Array] = {f"past_{kind}{layer}": slab for kind in "kv" for layer in range(lm.layers)}
    places = {"seqlens_k": np.array([count - 1], np.int32), "total_len": np.array([count], np.int32)}
    made = voice.run({"followed": np.concatenate(parts, axis=1), **places, **cache})
    keys, values = (np.concatenate([made[f"present_{kind}{layer}"] for layer in range(lm.layers)]) for kind in "kv")
    return keys, values


def ends_on_pause(samples: FloatArray, rate_hz: int) -> FloatArray:
    """Silence at the end is cut, and a short pause put there: the model was trained on recordings that end so."""
    size = round(_WINDOW_S * rate_hz)
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size), dtype=np.float64).mean(axis=1)
    level_db = 10 * np.log10(power + 1e-24)
    end = (int(np.flatnonzero(level_db > level_db.max() - _FLOOR_DB)[-1]) + 1) * size
    kept, fade = samples[:end].copy(), round(_FADE_S * rate_hz)
    kept[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.concatenate([kept, np.zeros(round(_PAUSE_S * rate_hz), np.float32)])


def why_no_cloning(bundle: Bundle) -> str | None:
    """None where it can."""
    if bundle.cloning is not None:
        return None
    return f"{bundle.name} cannot clone voices: it was exported without the voice encoder; {_GATED}"


def about(bundle: Bundle) -> dict[str, str]:
    """What a voice's file says of the model that made it."""
    return {"model": bundle.name, "weights": bundle.voice_weights}


def voice_bytes(bundle: Bundle) -> int:
    """The most that a voice's arrays take."""
    return bundle.cloning.positions * bundle.lm.bytes_per_position if bundle.cloning else 0


def voice_of(file: VoiceFile, bundle: Bundle) -> VoicePrefix:
    """Raises BundleError for a file that is no voice of this model."""
    keys, values, lm = file.arrays.get("keys"), file.arrays.get("values"), bundle.lm
    if keys is None or values is None or bundle.cloning is None:
        missing = "keys" if keys is None else "values"
        raise BundleError(why_no_cloning(bundle) or f"it is no voice of this model: it has no {missing}")
    positions = keys.shape[2] if keys.ndim == 4 else 0
    wanted = (lm.layers, lm.kv_heads, positions, lm.head_dim)
    if not positions or keys.shape != wanted or values.shape != wanted:
        raise BundleError("it is a voice of another model: clone it again for this bundle")
    if not (np.isfinite(keys).all() and np.isfinite(values).all()):
        raise BundleError("it holds a value that is not finite: clone it again")
    if (problem := _does_not_fit(positions, bundle.cloning)) is not None:
        raise BundleError(problem)
    if "weights" not in file.about:
        raise BundleError("it does not say which weights made it: clone it again, with `parlando voices add`")
    if file.about["weights"] != bundle.voice_weights:
        raise BundleError(
            f"it is a voice of {file.about.get('model')} with other weights than those of {bundle.name} in "
            f"{bundle.folder.name}: clone it again for this bundle"
        )
    return VoicePrefix(file.digest, keys.astype(np.float32), values.astype(np.float32))


def _does_not_fit(positions: int, cloning: Cloning) -> str | None:
    if positions <= cloning.positions:
        return None
    return f"the recording takes {positions} positions, a slot has room for {cloning.positions}: cut it"
