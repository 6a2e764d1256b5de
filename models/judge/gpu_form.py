"""The GPU form of the shipped voice beside the int8 form on the CPU: python -m models.judge.gpu_form --out JSON

The form's graphs run on the CPU provider, so this is of their weights and operators, not of a device's kernels. Both
speak the same sentences, read back over a closed grammar, which counts words almost without noise. Agreement is of
single codes: the form makes each step of what the int8 form has spoken so far.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.base import Frames, Pending, Rows, Sampling, Steps
from engines.families.common.device_form import DeviceForm
from engines.families.common.done import Done
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.families.phone_pointer.talker import PointerTalker
from engines.runtime.base import IntArray
from engines.synth import speak
from models.cpu_networks import speech_model
from models.gpu_graphs.__main__ import export
from models.gpu_graphs.host import HostDevice
from models.judge.recogniser import SAMPLE_RATE_HZ, Recogniser, word_error_rate

LISTS = Path(__file__).parent / "lists"
SEED = 1
BAR = 0.005  # how much worse the form may be, of words
TYPES = ("float32", "float16")


class Beside(PointerTalker):
    """The int8 form, which decides; a form on a device makes each step from the same codes."""

    def __init__(self, bundle: Bundle, device: DeviceTalker) -> None:
        super().__init__(bundle, speech_model(bundle, 1))
        self._device, self.equal = device, list[bool]()

    def release(self, slot: int) -> None:
        super().release(slot)
        self._device.release(slot)

    def step(
        self,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames | None,
    ) -> Pending[Steps]:
        asked = slots, rows, counts, lengths, sampling, keys, drafted
        ours, theirs = super().step(*asked).wait(), self._device.step(*asked).wait()
        self.equal += (ours.frames == theirs.frames).ravel().tolist()
        self._device.keep(slots, lengths + 1, ours.frames[:, 0])
        return Done(ours)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--voice", default="slt")
    given = parser.parse_args()
    bundle, texts = load_bundle(Path("flite")), (LISTS / "closed.txt").read_text().splitlines()[: given.sentences]
    recogniser = Recogniser((LISTS / "closed.jsgf").read_text())

    def wer(engine: Engine, what: str) -> float:
        heard = []
        for text in track(texts, description=what):
            spoken = speak(engine, text, voice=given.voice, seed=SEED, sample_rate_hz=SAMPLE_RATE_HZ)
            heard.append(recogniser.transcribe(samples(spoken.pcm)))
        engine.close()
        return round(word_error_rate(texts, heard), 4)

    config = EngineConfig(slots=1, workers=False, drafts=DraftMode.OFF)
    found: dict[str, object] = {"voice": given.voice, "sentences": len(texts), "words": len(" ".join(texts).split())}
    found["int8 on the CPU"] = {"wer": (shipped := wer(load_engine(bundle, config), "int8"))}
    is_within = True
    for dtype in TYPES:
        with tempfile.TemporaryDirectory() as folder:
            form = DeviceForm.load(export(bundle, Path(folder), dtype).parent, bundle)
            talker, vocoder = (make(bundle, form, HostDevice(), 1) for make in (DeviceTalker, DeviceVocoder))
            talker.warm_up()
            vocoder.warm_up()
            wrong = wer(load_engine(bundle, config, talker=talker, vocoder=vocoder), dtype)
            beside = Beside(bundle, talker)
            engine = load_engine(bundle, config, talker=beside)
            for text in track(texts[:20], description=f"{dtype}, code by code"):
                speak(engine, text, voice=given.voice, seed=SEED, temperature=0.0)
            engine.close()
        codes = len(beside.equal)
        found[dtype] = {
            "wer": wrong,
            "worse_by": round(wrong - shipped, 4),
            "codes": codes,
            "codes_equal": round(sum(beside.equal) / codes, 4),
        }
        is_within = is_within and wrong - shipped <= BAR
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    Console().print_json(data=found)
    return 0 if is_within else 1


def samples(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm, np.int16)


if __name__ == "__main__":
    raise SystemExit(main())
