"""Voices added to a bundle, whatever its family: whether it takes any, which it has, and how one is made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from engines.errors import BundleError
from engines.families.common.voice_files import VoiceFile, names, packed, read
from engines.families.pocket import cloning as pocket
from engines.families.pocket.bundle import Bundle as PocketBundle
from engines.families.qwen3_tts import cloning as qwen3_tts
from engines.families.qwen3_tts.bundle import Bundle as Qwen3TtsBundle
from engines.runtime.base import FloatArray
from engines.runtime.kernels import OFF
from engines.runtime.onnx_cpu import OnnxCpu

FOLDER = "voices"  # in the bundle
MOST, _MOST_BYTES = 256, 2**30  # voices of one folder: engines hold all of them


def why_no_voices(bundle: Any) -> str | None:
    """Why none can be added; None where they can."""
    if isinstance(bundle, Qwen3TtsBundle):
        return qwen3_tts.why_no_cloning(bundle)
    if isinstance(bundle, PocketBundle):
        return pocket.why_no_cloning(bundle)
    return f"{bundle.name} cannot clone voices: its model has no voice encoder"


def voice_bytes(bundle: Any) -> int:
    """The most that a voice's arrays take; 0 where none can be added."""
    if why_no_voices(bundle) is not None:
        return 0
    return pocket.voice_bytes(bundle) if isinstance(bundle, PocketBundle) else qwen3_tts.voice_bytes(bundle.qwen3_tts)


def most_voices(bundle: Any) -> int:
    """That may be added."""
    return min(MOST, _MOST_BYTES // max(1, voice_bytes(bundle)))


def voices_folder(bundle: Any, chosen: Path | None) -> Path:
    return chosen or Path(bundle.folder) / FOLDER


def added_voices(bundle: Any, chosen: Path | None) -> tuple[dict[str, VoiceFile], dict[str, str]]:
    """Those that this bundle speaks with, and by name what is wrong with the others."""
    found, problems = dict[str, VoiceFile](), dict[str, str]()
    if why_no_voices(bundle) is not None:
        return found, problems
    folder = voices_folder(bundle, chosen)
    own = {voice.id for voice in bundle.voices}
    for name in names(folder):
        try:
            if name in own:
                raise BundleError("the bundle has a voice of that name")
            file = read(folder, name, voice_bytes(bundle))
            _check(bundle, file)
            found[name] = file
        except (BundleError, OSError) as error:
            problems[name] = str(error)
    return found, problems


def _check(bundle: Any, file: VoiceFile) -> None:
    """Raises BundleError for a voice of another model."""
    if isinstance(bundle, PocketBundle):
        pocket.voice_of(file, bundle)
    else:
        qwen3_tts.voice_of(file, bundle.qwen3_tts)


def encode_voice(bundle: Any, samples: FloatArray, rate_hz: int, text: str, consent: str) -> bytes:
    """A voice file's content. Takes seconds. Raises BadParameter, or BundleError where the bundle cannot clone."""
    if (why_not := why_no_voices(bundle)) is not None:
        raise BundleError(why_not)
    host = OnnxCpu(1, OFF)
    encoder = pocket.VoiceEncoder(bundle, host) if isinstance(bundle, PocketBundle) else None
    voice = (encoder or qwen3_tts.VoiceEncoder(bundle, host)).encode_voice(samples, rate_hz, text)
    about = {
        "created_s": time.time(),
        "seconds": round(len(samples) / rate_hz, 2),
        "uses_text": voice.uses_text,
        "consent": consent,
        **(pocket.about(bundle) if isinstance(bundle, PocketBundle) else {}),
    }
    return packed(voice.arrays, about)
