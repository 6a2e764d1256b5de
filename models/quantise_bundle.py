"""Makes a finished bundle int8: python -m models.quantise_bundle --bundle DIR --codes FILE

The scales come from encoded speech. The vocoder's last product stays in float: its error would be heard at all
frequencies. Attention, products and blocks are folded into nodes that our kernels can run (`models/folding.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.networks import pure
from models import fold_lm, fold_vocoder
from models.code_files import read_codes, saying_refusals
from models.cpu_networks import spectrum_model
from models.export import update_manifest
from models.lm_data import Example, collate
from models.quantise import Feeds, products, quantised, scales
from models.seen_phones import PhoneTimes, served_frames
from models.speech_lm import feature_rows

CALIBRATION_UTTERANCES = 96


def quantise_bundle(folder: Path, examples: list[Example], *, lm: bool = True, vocoder: bool = True) -> None:
    """In place. `examples` bring the codes of real speech."""
    bundle = load_bundle(folder)
    chosen = _spread(examples)
    if lm:
        model = onnx.load(folder / bundle.lm.file)
        small = quantised(model, scales(model, lm_calls(bundle, chosen)))
        onnx.save(fold_lm.folded(small), folder / bundle.lm.file)
    if vocoder:
        model = onnx.load(folder / bundle.vocoder.file)
        last = products(model)[-1].input[1]
        found = scales(model, vocoder_calls(bundle, chosen))
        small = quantised(model, found, lambda weight: weight != last)
        onnx.save(fold_vocoder.folded(small), folder / bundle.vocoder.file)
    before = json.loads((folder / "manifest.json").read_text())["provenance"].get("int8", [])
    done = {*before, *(name for name, chosen in (("lm", lm), ("vocoder", vocoder)) if chosen)}
    update_manifest(folder, provenance={"int8": sorted(done)})


def _spread(examples: list[Example]) -> list[Example]:
    """Some of each voice."""
    order = np.random.default_rng(5).permutation(len(examples))
    voices = sorted({one.speaker for one in examples})
    each = -(-CALIBRATION_UTTERANCES // len(voices))
    return [one for voice in voices for one in [examples[at] for at in order if examples[at].speaker == voice][:each]]


def lm_calls(bundle: Bundle, examples: list[Example]) -> Iterator[Feeds]:
    """A whole utterance in each call, from an empty cache."""
    for one in examples:
        inputs, _ = collate([one])
        steps = len(one.codes)
        rows = feature_rows(inputs, bundle.adapter.offsets, bundle.adapter.num_phone_ids)
        feeds: Feeds = {"features": rows.numpy()}
        feeds |= {"seqlens_k": np.array([steps - 1], np.int32), "total_len": np.array([steps], np.int32)}
        shape = (1, bundle.lm.kv_heads, steps, bundle.lm.head_dim)
        for layer in range(bundle.lm.layers):
            feeds |= {f"past_{kind}{layer}": np.zeros(shape, np.float32) for kind in "kv"}
        yield feeds


def vocoder_calls(bundle: Bundle, examples: list[Example]) -> Iterator[Feeds]:
    state = spectrum_model(bundle).initial_state(1)
    for seed, one in enumerate(examples):
        samples = bundle.look_back + len(one.codes) * bundle.samples_per_code
        speaker = {"voices": pure(len(bundle.voices), one.speaker), "pitch": np.ones(1, np.float32)}
        frames = served_frames(bundle, one.codes, PhoneTimes(phones=one.phones, ends=one.ends))[None]
        yield bundle.vocoder.feeds(frames) | speaker | {"noise": noise(seed, 0, samples)[None]} | state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--codes", type=Path, required=True, help="what models.encode wrote")
    parser.add_argument("--part", choices=("all", "lm", "vocoder"), default="all")
    arguments = parser.parse_args()
    examples = read_codes(arguments.codes).examples
    part = arguments.part
    quantise_bundle(arguments.bundle, examples, lm=part != "vocoder", vocoder=part != "lm")


if __name__ == "__main__":
    saying_refusals(main)
